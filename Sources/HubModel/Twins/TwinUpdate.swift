// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import JSON
public import NIOCore

/// What became of a change that was applied to a twin.
public struct TwinUpdate: Sendable {
    /// The twin as it now is.
    public let twin: Twin
    /// What a device that listens is told, nil where its desired properties were not written.
    public let notice: DesiredNotice?
    /// Which sections were written; none where the change held nothing.
    public let written: Set<TwinSectionName>
    /// When it took place, in milliseconds since 1970 UTC.
    public let milliseconds: Int64

    /// The body of the event that tells routes of the change (docs/wire/http.md#twins).
    ///
    /// After a merge it holds what the change wrote, nulls included, with its metadata and versions; after a
    /// replacement the whole twin.
    ///
    /// - Parameter change: the change that this is the outcome of
    /// - Returns: one JSON object
    /// - Throws: `HubError(.storageCorrupt)` where a section can't be read
    public func eventBody(of change: TwinChange) throws(HubError) -> ByteBuffer {
        var writer = JSONWriter()
        writer.beginObject()
        switch change {
        case .replace:
            writer.member("deviceId", self.twin.id.device)
            if let module = self.twin.id.module { writer.member("moduleId", module) }
            writer.member("etag", self.twin.etag)
            writer.member("version", self.twin.version)
            try self.twin.writeSections(to: &writer)
        case .patch(let tags, let desired):
            writer.member("version", self.twin.version)
            if let tags, self.written.contains(.tags) {
                writer.name("tags")
                writer.compactValue(tags.value)
            }
            if let desired, self.written.contains(.desired) {
                self.write(desired, "desired", version: self.twin.desired.version, showsVersions: true, to: &writer)
            }
        case .reported(let reported, _):
            writer.member("version", self.twin.version)
            self.write(reported, "reported", version: self.twin.reported.version, showsVersions: false, to: &writer)
        }
        writer.endObject()
        return writer.buffer
    }

    private func write(
        _ patch: TwinObject,
        _ section: String,
        version: Int64,
        showsVersions: Bool,
        to writer: inout JSONWriter
    ) {
        writer.name("properties")
        writer.beginObject()
        writer.name(section)
        writer.beginObject()
        patch.writeMembers(to: &writer)
        writer.name("$metadata")
        let stamp = TwinStamp(milliseconds: self.milliseconds, version: version)
        var metadata = TwinMetadata(everywhere: stamp, showsVersions: showsVersions)
        metadata.write(patch, to: &writer)
        writer.member("$version", version)
        writer.endObject()
        writer.endObject()
    }
}

/// What a device is told of a write of its desired properties.
public struct DesiredNotice: Sendable, Hashable {
    /// The version that the desired properties have by the write.
    public let version: Int64
    /// The patch with its nulls, or after a replacement all desired properties; and `$version`.
    public let payload: ByteBuffer

    /// Tells of desired properties that were replaced.
    init(replacedBy section: TwinSection) {
        self.version = section.version
        self.payload = section.deviceText
    }

    /// Tells of a patch that gave the desired properties a version.
    init(patch: TwinObject, version: Int64) {
        var writer = JSONWriter()
        writer.beginObject()
        patch.writeMembers(to: &writer)
        writer.member("$version", version)
        writer.endObject()
        self.version = version
        self.payload = writer.buffer
    }
}

extension TwinObject {
    /// Writes the members that count, as they were sent but for white space between tokens.
    fileprivate func writeMembers(to writer: inout JSONWriter) {
        for member in self.value.members where !self.isIgnored(member) {
            writer.rawName(member.rawName)
            writer.compactValue(member.value)
        }
    }
}
