// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import JSON
import NIOCore

/// Writes a section anew: what was there with what a change adds, replaces and removes.
///
/// One pass over both texts; members that the change does not name are copied as they stand, with their stamps.
/// Recursion is as deep as a section may be, see ``TwinCheck``.
struct TwinMerge {
    private(set) var writer = JSONWriter()
    private(set) var stamps: [TwinStamp] = []
    /// What the section weighs by the rule of docs/wire/http.md#twins.
    private(set) var sizeBytes = 0

    private let old: [TwinStamp]
    private var oldIndex = 0
    private let keepsStamps: Bool
    private let now: TwinStamp

    /// Begins a merge into a section; `now` is the stamp of all that is written.
    ///
    /// - Parameters:
    ///   - section: what was there
    ///   - keepsStamps: false for tags, which have none
    ///   - now: the stamp of what is written
    init(into section: TwinSection, keepsStamps: Bool, now: TwinStamp) {
        self.old = section.stamps.values
        self.keepsStamps = keepsStamps
        self.now = now
        self.stamps.reserveCapacity(self.old.count + 8)
    }

    /// Begins the writing of something that has no past.
    init(now: TwinStamp) {
        self.old = []
        self.keepsStamps = true
        self.now = now
    }

    /// Merges a patch into an object that was there.
    mutating func merge(_ base: JSONValue, _ patch: TwinObject) {
        self.mergeObject(base, PatchMembers(patch.value.members.filter { !patch.isIgnored($0) }))
    }

    /// Writes an object that replaces whatever was there.
    mutating func replace(with object: TwinObject) {
        self.stamps.append(self.now)
        self.writer.beginObject()
        for member in object.value.members where !object.isIgnored(member) { self.writeFresh(member) }
        self.writer.endObject()
    }

    // MARK: What was there

    private mutating func mergeObject(_ base: JSONValue, _ patch: consuming PatchMembers) {
        let old = self.nextOld()
        self.stamps.append(patch.isEmpty ? old : self.now)
        self.writer.beginObject()
        for member in base.members {
            guard let change = patch.take(member.rawName) else {
                self.keep(member)
                continue
            }
            let value = change.value
            if value.kind == .object, member.value.kind == .object {
                self.writeName(member.rawName)
                self.mergeObject(member.value, PatchMembers(Array(value.members)))
                continue
            }
            self.skip(member.value)
            if !value.isNull { self.writeFresh(change) }
        }
        for member in patch.rest { self.writeFresh(member) }
        self.writer.endObject()
    }

    /// Copies a member as it stands.
    private mutating func keep(_ member: JSONMember) {
        let name = member.rawName
        self.writeName(name)
        self.writer.raw(member.value.raw)
        self.keepStamps(member.value)
    }

    private mutating func keepStamps(_ value: JSONValue) {
        let old = self.nextOld()
        if self.keepsStamps { self.stamps.append(old) }
        guard value.kind == .object else {
            self.sizeBytes += value.twinSizeBytes
            return
        }
        for member in value.members {
            self.sizeBytes += member.rawNameSizeBytes
            self.keepStamps(member.value)
        }
    }

    private mutating func skip(_ value: JSONValue) {
        self.oldIndex += 1
        guard value.kind == .object else { return }
        for member in value.members { self.skip(member.value) }
    }

    private mutating func nextOld() -> TwinStamp {
        defer { self.oldIndex += 1 }
        return self.oldIndex < self.old.count ? self.old[self.oldIndex] : .never
    }

    // MARK: What is new

    /// Writes a member of a change; a null removes, so it is not written.
    private mutating func writeFresh(_ member: JSONMember) {
        let value = member.value
        guard !value.isNull else { return }
        self.writeName(member.canonicalName)
        self.stamps.append(self.now)
        guard value.kind == .object else {
            self.sizeBytes += value.twinSizeBytes
            self.writer.compactValue(value)
            return
        }
        self.writer.beginObject()
        for inner in value.members { self.writeFresh(inner) }
        self.writer.endObject()
    }

    private mutating func writeName(_ raw: ByteBuffer) {
        self.sizeBytes += raw.readableBytes - 2
        self.writer.rawName(raw)
    }
}

/// The members of one object of a patch, found by name.
private struct PatchMembers {
    /// Objects with more members are searched through a hash, which is keyed per process.
    private static let linearMax = 12

    private let members: [JSONMember]
    private let names: [ByteBuffer]
    private var isTaken: [Bool]
    private let index: [ByteBuffer: Int]

    init(_ members: [JSONMember]) {
        self.members = members
        self.names = members.map(\.canonicalName)
        self.isTaken = Array(repeating: false, count: members.count)
        self.index =
            members.count <= Self.linearMax
            ? [:] : Dictionary(zip(self.names, members.indices), uniquingKeysWith: { $1 })
    }

    var isEmpty: Bool { self.members.isEmpty }

    /// The members that were not taken, in their order.
    var rest: [JSONMember] { self.members.indices.filter { !self.isTaken[$0] }.map { self.members[$0] } }

    /// The member with a name, given in canonical spelling.
    mutating func take(_ name: ByteBuffer) -> JSONMember? {
        let found = self.index.isEmpty ? self.names.firstIndex(of: name) : self.index[name]
        guard let found else { return nil }
        self.isTaken[found] = true
        return self.members[found]
    }
}

extension JSONMember {
    /// The name with quotes, in the one spelling that a section uses: escapes only where JSON demands them.
    var canonicalName: ByteBuffer {
        guard self.hasEscapes else { return self.rawName }
        var writer = JSONWriter()
        writer.string(self.name)
        return writer.buffer
    }
}

extension JSONValue {
    /// What a value weighs: numbers 8, booleans 4, strings their length, names theirs (docs/wire/http.md#twins).
    fileprivate var twinSizeBytes: Int {
        switch self.kind {
        case .null: 0
        case .true, .false: 4
        case .number: 8
        case .string: self.stringWeight
        case .array: self.elements.reduce(0) { $0 + $1.twinSizeBytes }
        case .object: self.members.reduce(0) { $0 + $1.rawNameSizeBytes + $1.value.twinSizeBytes }
        }
    }

    private var stringWeight: Int {
        // Control characters weigh nothing; they can only be there where something is escaped.
        guard self.hasEscapes, let string = self.string else { return self.stringSizeBytes }
        return string.utf8.reduce(0) { $1 < 0x20 ? $0 : $0 + 1 }
    }
}
