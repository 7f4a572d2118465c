// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// What a JSON value is.
public enum JSONKind: UInt8, Sendable, Hashable {
    /// The literal `null`.
    case null
    /// The literal `false`.
    case `false`
    /// The literal `true`.
    case `true`
    /// A number, kept as its text.
    case number
    /// A string.
    case string
    /// An array.
    case array
    /// An object.
    case object
}

/// One entry of a document's tape: a value, or the name of a member.
///
/// Sixteen bytes and no reference, so that a document costs one array whatever its shape is.
struct JSONNode {
    /// Where the value's text starts; for strings, after the opening quote.
    var start: UInt32
    /// Where the value's text ends; for strings, before the closing quote.
    var end: UInt32
    /// The tape index after this value and all it contains.
    ///
    /// While a container is open: the tape index of its parent.
    var next: UInt32
    var kind: JSONKind
    var flags: JSONNodeFlags
}

struct JSONNodeFlags: OptionSet {
    var rawValue: UInt8

    /// The string contains a backslash.
    static let escaped = JSONNodeFlags(rawValue: 1)
    /// A later member of the same object has the same name, so this one does not count.
    static let shadowed = JSONNodeFlags(rawValue: 2)
    /// The value contains a shadowed member, so its text can't be copied as it stands.
    static let containsShadowed = JSONNodeFlags(rawValue: 4)
}
