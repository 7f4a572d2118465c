// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// The twin of a device or a module: what the back end wants of it, what it reports of itself, and tags.
///
/// A value: an update makes a new one. Sections are kept as the text that clients sent, so that number text and member
/// order come back as they were.
public struct Twin: Sendable, Hashable {
    /// Whose twin it is.
    public let id: IdentityID
    /// Counts every change of the twin; a fresh twin has 2.
    public internal(set) var version: Int64
    /// Counts the changes of tags and desired properties; see ``etag``.
    public internal(set) var etagNumber: Int64
    /// The tags, one JSON object; `{}` where there are none.
    public internal(set) var tags: ByteBuffer
    /// What the back end wants of the device.
    public internal(set) var desired: TwinSection
    /// What the device reports of itself.
    public internal(set) var reported: TwinSection

    /// The twin that a new identity has.
    public init(freshFor id: IdentityID) {
        self.init(
            id: id,
            version: 2,
            etagNumber: 1,
            tags: TwinSection.emptyObject,
            desired: TwinSection(),
            reported: TwinSection()
        )
    }

    /// Puts a twin together from what a store kept.
    public init(
        id: IdentityID,
        version: Int64,
        etagNumber: Int64,
        tags: ByteBuffer,
        desired: TwinSection,
        reported: TwinSection
    ) {
        self.id = id
        self.version = version
        self.etagNumber = etagNumber
        self.tags = tags
        self.desired = desired
        self.reported = reported
    }

    /// The entity tag without quotes: eight bytes in base64, as `AAAAAAAAAAE=`.
    public var etag: String {
        Base64.encode((0..<8).map { UInt8(truncatingIfNeeded: self.etagNumber >> (56 - 8 * $0)) })
    }

    /// Whether the twin has tags.
    public var hasTags: Bool { self.tags.readableBytes > 2 }
}

/// The desired or the reported properties of a twin.
public struct TwinSection: Sendable, Hashable {
    /// The properties: one JSON object without `$metadata`, `$version` and white space around it.
    public let text: ByteBuffer
    /// Counts the writes of the section, from 1 for a fresh twin.
    public let version: Int64
    /// When each level and property was last written.
    public let stamps: TwinStamps

    /// Puts a section together; without arguments, the one of a fresh twin.
    public init(text: ByteBuffer = Self.emptyObject, version: Int64 = 1, stamps: TwinStamps = TwinStamps()) {
        self.text = text
        self.version = version
        self.stamps = stamps
    }

    /// The text `{}`.
    public static let emptyObject = ByteBuffer(string: "{}")
}
