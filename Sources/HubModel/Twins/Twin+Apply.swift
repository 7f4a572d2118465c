// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import JSON
import NIOCore

extension Twin {
    /// Returns the twin as a change makes it, and what follows from the change.
    ///
    /// - Parameters:
    ///   - change: what is asked for
    ///   - etags: the entity tags of which the twin must have one; nil for any
    ///   - milliseconds: now, since 1970 UTC
    ///   - limits: the bounds that sections keep
    /// - Returns: the new twin; the old one where the change held nothing
    /// - Throws: `HubError`: `.preconditionFailed` where the twin is another one than the caller thinks,
    ///   `.argumentInvalid` where a section would be too large, `.storageCorrupt` where what was stored can't be read
    public func applying(
        _ change: TwinChange,
        ifMatch etags: [String]? = nil,
        atMilliseconds milliseconds: Int64,
        limits: TwinLimits
    ) throws(HubError) -> TwinUpdate {
        guard etags?.contains(self.etag) ?? true else {
            throw HubError(.preconditionFailed, "Precondition failed: the twin's ETag is not the one that was given")
        }
        var twin = self
        var written: Set<TwinSectionName> = []
        var notice: DesiredNotice?
        switch change {
        case .patch(let tags, let desired):
            if let tags, !tags.isEmpty {
                try twin.write(tags, replaces: false, limits: limits)
                written.insert(.tags)
            }
            if let desired, !desired.isEmpty {
                twin.desired = try self.desired.written(
                    desired,
                    .desired,
                    replaces: false,
                    atMilliseconds: milliseconds,
                    limits: limits
                )
                notice = DesiredNotice(patch: desired, version: twin.desired.version)
                written.insert(.desired)
            }
        case .replace(let tags, let desired):
            if let tags {
                try twin.write(tags, replaces: true, limits: limits)
                written.insert(.tags)
            }
            if let desired {
                twin.desired = try self.desired.written(
                    desired,
                    .desired,
                    replaces: true,
                    atMilliseconds: milliseconds,
                    limits: limits
                )
                notice = DesiredNotice(replacedBy: twin.desired)
                written.insert(.desired)
            }
        case .reported(let patch, let version):
            guard version == nil || version == self.reported.version else {
                throw HubError(.preconditionFailed, "The reported properties have version \(self.reported.version)")
            }
            if !patch.isEmpty {
                twin.reported = try self.reported.written(
                    patch,
                    .reported,
                    replaces: false,
                    atMilliseconds: milliseconds,
                    limits: limits
                )
                written.insert(.reported)
            }
        }
        if !written.isEmpty { twin.version += 1 }
        if written.contains(.tags) || written.contains(.desired) { twin.etagNumber += 1 }
        return TwinUpdate(
            twin: twin,
            notice: notice,
            written: written,
            milliseconds: milliseconds
        )
    }

    private mutating func write(_ object: TwinObject, replaces: Bool, limits: TwinLimits) throws(HubError) {
        // Tags have neither version nor stamps; for the rest they are written as properties are.
        let section = TwinSection(text: self.tags)
        self.tags = try section.written(object, .tags, replaces: replaces, atMilliseconds: 0, limits: limits).text
    }
}

extension TwinSection {
    /// The section after a write of an object that writes something.
    fileprivate func written(
        _ object: TwinObject,
        _ name: TwinSectionName,
        replaces: Bool,
        atMilliseconds milliseconds: Int64,
        limits: TwinLimits
    ) throws(HubError) -> TwinSection {
        let version = self.version + 1
        let stamp = TwinStamp(milliseconds: milliseconds, version: version)
        var merge: TwinMerge
        if replaces {
            merge = TwinMerge(now: stamp)
            merge.replace(with: object)
        } else {
            merge = TwinMerge(into: self, keepsStamps: name != .tags, now: stamp)
            merge.merge(try self.parsed(), object)
        }
        let sizeMax = name == .tags ? limits.tagsBytesMax : limits.sectionBytesMax
        guard merge.sizeBytes <= sizeMax else {
            throw HubError(.argumentInvalid, "Twin properties size \(merge.sizeBytes) exceeds maximum \(sizeMax)")
        }
        // Brackets and commas weigh nothing by the documented rule, yet they are stored.
        let text = merge.writer.buffer
        guard text.readableBytes <= sizeMax * limits.textToSizeMax else {
            throw HubError(
                .argumentInvalid,
                "Twin properties have \(text.readableBytes) bytes of text, more than \(sizeMax * limits.textToSizeMax)"
            )
        }
        return TwinSection(text: text, version: version, stamps: TwinStamps(merge.stamps))
    }

    /// The section's text, parsed.
    func parsed() throws(HubError) -> JSONValue {
        do throws(JSONError) {
            let document = try JSONDocument(parsing: self.text)
            if document.root.kind == .object { return document.root }
        } catch {
            throw HubError(.storageCorrupt, "A twin's section is stored damaged: \(error)")
        }
        throw HubError(.storageCorrupt, "A twin's section is stored damaged")
    }
}
