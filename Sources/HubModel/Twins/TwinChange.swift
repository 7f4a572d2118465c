// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import JSON
public import NIOCore

/// A change of a twin that a peer asks for, checked as far as it can be without the twin.
public enum TwinChange: Sendable {
    /// A back end merges into tags and desired properties; nil leaves a section alone.
    case patch(tags: TwinObject?, desired: TwinObject?)
    /// A back end replaces tags and desired properties; nil leaves a section alone.
    case replace(tags: TwinObject?, desired: TwinObject?)
    /// The device merges into its reported properties, if they have the version it names.
    case reported(TwinObject, ifVersion: Int64?)

    /// Reads the body of a back end's PATCH or PUT of a twin.
    ///
    /// Members other than `tags` and `properties.desired` are ignored, for clients send back the whole document that
    /// they read; so are sections that are `null` (docs/wire/http.md#twins).
    ///
    /// - Throws: `HubError`: `.formatError` for what is no JSON object, `.argumentInvalid` for a value that breaks a
    ///   rule of twins
    public init(serviceBody body: ByteBuffer, replaces: Bool, limits: TwinLimits) throws(HubError) {
        try self.init(serviceDocument: Self.object(body, limits: limits), replaces: replaces, limits: limits)
    }

    /// Reads a back end's change from an object that was parsed as part of a larger text, such as an item of a bulk call.
    ///
    /// - Throws: `HubError(.argumentInvalid)` for a value that breaks a rule of twins
    public init(serviceDocument root: JSONValue, replaces: Bool, limits: TwinLimits) throws(HubError) {
        let tags = try root["tags"].flatMap { value throws(HubError) -> TwinObject? in
            try TwinObject(value, of: .tags, limits: limits)
        }
        var desired: TwinObject?
        if let properties = root["properties"], !properties.isNull {
            guard properties.kind == .object else {
                throw HubError(.argumentInvalid, "The properties of a twin must be an object")
            }
            desired = try properties["desired"].flatMap { value throws(HubError) -> TwinObject? in
                try TwinObject(value, of: .desired, limits: limits)
            }
        }
        self = replaces ? .replace(tags: tags, desired: desired) : .patch(tags: tags, desired: desired)
    }

    /// Reads the body of a device's patch of its reported properties.
    ///
    /// - Throws: `HubError` as the initializer for back ends does
    public init(reportedBody body: ByteBuffer, ifVersion: Int64?, limits: TwinLimits) throws(HubError) {
        let root = try Self.object(body, limits: limits)
        guard let patch = try TwinObject(root, of: .reported, limits: limits) else {
            throw HubError(.argumentInvalid, "Reported properties must be an object")
        }
        self = .reported(patch, ifVersion: ifVersion)
    }

    /// How much text it keeps in memory, in bytes.
    public var textBytes: Int {
        switch self {
        case .patch(let tags, let desired), .replace(let tags, let desired):
            (desired ?? tags)?.value.document.text.readableBytes ?? 0
        case .reported(let patch, _): patch.value.document.text.readableBytes
        }
    }

    /// Whether it replaces sections rather than merging into them.
    public var isReplacement: Bool {
        if case .replace = self { return true }
        return false
    }

    private static func object(_ body: ByteBuffer, limits: TwinLimits) throws(HubError) -> JSONValue {
        let document: JSONDocument
        do throws(JSONError) {
            document = try JSONDocument(parsing: body, limits: limits.json)
        } catch {
            let code: HubErrorCode =
                error.reason == .tooDeep || error.reason == .tooLarge ? .argumentInvalid : .formatError
            throw HubError(code, "The body is not acceptable JSON: \(error)")
        }
        guard document.root.kind == .object else {
            throw HubError(.formatError, "The body must be a JSON object")
        }
        return document.root
    }
}

/// One of the three parts of a twin that can be written.
public enum TwinSectionName: String, Sendable, Hashable, CaseIterable {
    /// What only back ends see.
    case tags
    /// What back ends want.
    case desired
    /// What the device reports.
    case reported
}

/// An object of a request body that was checked to be fit for a section of a twin.
public struct TwinObject: Sendable {
    /// The object; `$metadata` and `$version` at its root do not count.
    public let value: JSONValue
    /// Whether members of the root are to be passed over: see ``isIgnored(_:)``.
    let ignoresReadOnly: Bool

    /// Checks a value for a section; nil if it is `null`, which counts as absent.
    ///
    /// - Throws: `HubError(.argumentInvalid)` for a value that breaks a rule of twins
    init?(_ value: JSONValue, of section: TwinSectionName, limits: TwinLimits) throws(HubError) {
        guard !value.isNull else { return nil }
        guard value.kind == .object else {
            throw HubError(.argumentInvalid, "The section \(section.rawValue) of a twin must be an object")
        }
        self.value = value
        // Service clients send back what they read. Devices never read `$metadata`, and a `$version` in their patch
        // is refused (docs/wire/mqtt.md#twins).
        self.ignoresReadOnly = section == .desired
        let check = TwinCheck(limits: limits)
        for member in value.members where !self.isIgnored(member) {
            try check.member(member, depth: 0, isInArray: false)
        }
    }

    /// Whether a member of the root is one that the hub itself writes.
    func isIgnored(_ member: JSONMember) -> Bool {
        self.ignoresReadOnly && (member.isNamed("$version") || member.isNamed("$metadata"))
    }

    /// Whether it writes nothing.
    var isEmpty: Bool { self.value.members.allSatisfy(self.isIgnored) }
}
