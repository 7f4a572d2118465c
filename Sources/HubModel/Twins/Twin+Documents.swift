// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import JSON
public import NIOCore

extension Twin {
    /// The document that the device itself reads: desired and reported properties, each with its `$version`.
    public var deviceDocument: ByteBuffer {
        let desired = self.desired.deviceText
        let reported = self.reported.deviceText
        var buffer = ByteBuffer()
        buffer.reserveCapacity(desired.readableBytes + reported.readableBytes + 32)
        buffer.writeString("{\"desired\":")
        buffer.writeImmutableBuffer(desired)
        buffer.writeString(",\"reported\":")
        buffer.writeImmutableBuffer(reported)
        buffer.writeString("}")
        return buffer
    }

    /// The document that back ends read (docs/wire/http.md#twins).
    ///
    /// - Throws: `HubError(.storageCorrupt)` where a section can't be read
    public func serviceDocument(
        of identity: RegisteredIdentity,
        _ activity: IdentityActivity
    ) throws(HubError) -> ByteBuffer {
        var writer = JSONWriter(buffer: self.buffer())
        try self.writeServiceDocument(of: identity, activity, to: &writer)
        return writer.buffer
    }

    /// Writes the document that back ends read as one value of a larger text.
    ///
    /// - Throws: `HubError(.storageCorrupt)` where a section can't be read
    public func writeServiceDocument(
        of identity: RegisteredIdentity,
        _ activity: IdentityActivity,
        to writer: inout JSONWriter
    ) throws(HubError) {
        writer.beginObject()
        writer.member("deviceId", self.id.device)
        if let module = self.id.module { writer.member("moduleId", module) }
        writer.member("etag", self.etag)
        writer.member("deviceEtag", identity.etag)
        writer.member("status", identity.status.rawValue)
        writer.member("statusReason", identity.statusReason)
        writer.member("statusUpdateTime", UTCTime.text(milliseconds: identity.statusUpdatedMilliseconds))
        writer.member("connectionState", activity.connectionState)
        writer.member("lastActivityTime", UTCTime.text(milliseconds: activity.presence?.lastActivityMilliseconds))
        writer.member("cloudToDeviceMessageCount", activity.commandCount)
        writer.member("authenticationType", identity.authentication.rawValue)
        writer.name("x509Thumbprint")
        writer.beginObject()
        writer.member("primaryThumbprint", identity.thumbprints.primary)
        writer.member("secondaryThumbprint", identity.thumbprints.secondary)
        writer.endObject()
        writer.member("modelId", activity.presence?.modelID ?? "")
        writer.member("version", self.version)
        try self.writeSections(to: &writer)
        if self.id.module == nil { Self.writeScopes(of: identity, to: &writer) }
        writer.endObject()
    }

    /// Writes the members `tags` and `properties`.
    func writeSections(to writer: inout JSONWriter) throws(HubError) {
        if self.hasTags {
            writer.name("tags")
            writer.raw(self.tags)
        }
        writer.name("properties")
        writer.beginObject()
        writer.name("desired")
        try self.desired.write(to: &writer, showsVersions: true)
        writer.name("reported")
        try self.reported.write(to: &writer, showsVersions: false)
        writer.endObject()
    }

    private static func writeScopes(of identity: RegisteredIdentity, to writer: inout JSONWriter) {
        writer.name("capabilities")
        writer.beginObject()
        writer.member("iotEdge", identity.isEdge)
        writer.endObject()
        guard let scope = identity.deviceScope else { return }
        writer.member("deviceScope", scope)
        guard !identity.parentScopes.isEmpty else { return }
        writer.name("parentScopes")
        writer.beginArray()
        for parent in identity.parentScopes { writer.string(parent) }
        writer.endArray()
    }

    /// A buffer that the document of this twin should fit in.
    func buffer() -> ByteBuffer {
        let stamps = self.desired.stamps.values.count + self.reported.stamps.values.count
        let text = self.desired.text.readableBytes + self.reported.text.readableBytes + self.tags.readableBytes
        var buffer = ByteBuffer()
        buffer.reserveCapacity(768 + 2 * text + 96 * stamps)
        return buffer
    }
}

extension TwinSection {
    /// The properties with `$version` as the last member.
    var deviceText: ByteBuffer {
        var buffer = ByteBuffer()
        buffer.reserveCapacity(self.text.readableBytes + 32)
        self.writeOpen(to: &buffer)
        buffer.writeString("\"$version\":\(self.version)}")
        return buffer
    }

    /// Writes the properties with `$metadata` and `$version`.
    fileprivate func write(to writer: inout JSONWriter, showsVersions: Bool) throws(HubError) {
        let root = try self.parsed()
        var metadata = TwinMetadata(self.stamps, showsVersions: showsVersions)
        writer.beginObject()
        for member in root.members {
            writer.rawName(member.rawName)
            writer.raw(member.value.raw)
        }
        writer.name("$metadata")
        metadata.write(root, to: &writer)
        writer.member("$version", self.version)
        writer.endObject()
    }

    /// Writes the text without its closing brace, ready for one more member.
    private func writeOpen(to buffer: inout ByteBuffer) {
        let count = self.text.readableBytes
        let open = self.text.getSlice(at: self.text.readerIndex, length: max(0, count - 1)) ?? ByteBuffer()
        buffer.writeImmutableBuffer(open)
        if count > 2 { buffer.writeInteger(UInt8(ascii: ",")) }
    }
}

/// Writes the `$metadata` of a section.
struct TwinMetadata {
    private let stamps: [TwinStamp]
    private let showsVersions: Bool
    private var index = 0
    private var lastStamp: TwinStamp?
    private var lastText = ByteBuffer()

    /// Begins the metadata of a section; `showsVersions` adds `$lastUpdatedVersion` to each entry.
    init(_ stamps: TwinStamps, showsVersions: Bool) {
        self.stamps = stamps.values
        self.showsVersions = showsVersions
    }

    /// Begins metadata in which everything has the same stamp.
    init(everywhere stamp: TwinStamp, showsVersions: Bool) {
        self.stamps = [stamp]
        self.showsVersions = showsVersions
    }

    /// Writes the entry of a value and of all below it; members that are null have none.
    mutating func write(_ value: JSONValue, to writer: inout JSONWriter) {
        writer.beginObject()
        writer.raw(self.nextText())
        if value.kind == .object {
            for member in value.members where !member.value.isNull {
                writer.rawName(member.rawName)
                self.write(member.value, to: &writer)
            }
        }
        writer.endObject()
    }

    /// Writes the entry of the root of a change.
    mutating func write(_ object: TwinObject, to writer: inout JSONWriter) {
        writer.beginObject()
        writer.raw(self.nextText())
        for member in object.value.members where !object.isIgnored(member) && !member.value.isNull {
            writer.rawName(member.rawName)
            self.write(member.value, to: &writer)
        }
        writer.endObject()
    }

    /// The members of the next entry; most follow one with the same stamp, so the last text is kept.
    private mutating func nextText() -> ByteBuffer {
        let stamp = self.index < self.stamps.count ? self.stamps[self.index] : self.stamps[self.stamps.count - 1]
        self.index += 1
        guard stamp != self.lastStamp else { return self.lastText }
        self.lastStamp = stamp
        self.lastText = ByteBuffer(string: "\"$lastUpdated\":\"")
        UTCTime.write(milliseconds: stamp.milliseconds, to: &self.lastText)
        self.lastText.writeString("\"")
        if self.showsVersions, stamp.version > 0 {
            self.lastText.writeString(",\"$lastUpdatedVersion\":\(stamp.version)")
        }
        return self.lastText
    }
}
