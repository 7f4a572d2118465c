// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import EmbeddedStore
import FoundationEssentials
import HubModel
import HubTesting
import JSON
import NIOCore
import Synchronization
import Testing

/// Random writes of back ends and devices, and crashes, on a store, beside a simple model of what twins then hold.
struct TwinModelTests {
    @Test(arguments: 1...10)
    func `twins hold what was written, versions rise by one, and each change leaves its event, whatever happens`(
        _ seed: Int
    ) async throws {
        var history = try TwinHistory(seed: UInt64(seed))
        defer { history.clean() }
        try await history.run(steps: 200)
    }
}

/// A JSON value as the model sees it: objects without order, everything else as its text.
private indirect enum Tree: Hashable {
    case null
    case leaf(String)
    case object([String: Tree])

    var members: [String: Tree] {
        if case .object(let members) = self { members } else { [:] }
    }

    var text: String {
        switch self {
        case .null: "null"
        case .leaf(let text): text
        case .object(let members):
            "{" + members.map { "\"\($0.key)\":\($0.value.text)" }.joined(separator: ",") + "}"
        }
    }

    init(_ value: JSONValue) {
        switch value.kind {
        case .null: self = .null
        case .object: self = .object(value.members.reduce(into: [:]) { $0[$1.name] = Tree($1.value) })
        default: self = .leaf(String(buffer: value.raw))
        }
    }

    init(parsing buffer: ByteBuffer) throws {
        self.init(try JSONDocument(parsing: buffer).root)
    }

    /// RFC 7396, by the book.
    func merging(_ patch: Tree) -> Tree {
        guard case .object(let changes) = patch else { return patch }
        var members = self.members
        for (name, change) in changes {
            members[name] = change == .null ? nil : (members[name] ?? .null).merging(change)
        }
        return .object(members)
    }

    static func random(depth: Int, nulls: Bool, _ random: inout SeededRandom) -> Tree {
        guard depth > 0, !random.one(in: 3) else {
            switch Int.random(in: 0..<6, using: &random) {
            case 0 where nulls, 1 where nulls: return .null
            case 2: return .leaf("\"t\(Int.random(in: 0...9, using: &random))\"")
            case 3: return .leaf("[1,{\"x\":[]},\"é\"]")
            case 4: return .leaf("1.50e2")
            default: return .leaf("\(Int.random(in: -9...9, using: &random))")
            }
        }
        return self.object(depth: depth, nulls: nulls, &random)
    }

    static func object(depth: Int, nulls: Bool, _ random: inout SeededRandom) -> Tree {
        var members: [String: Tree] = [:]
        for _ in 0..<Int.random(in: 0...3, using: &random) {
            let name = ["a", "b", "c", "d"].randomElement(using: &random) ?? "a"
            members[name] = self.random(depth: depth - 1, nulls: nulls, &random)
        }
        return .object(members)
    }
}

private struct ModelTwin {
    var tags = Tree.object([:])
    var desired = Tree.object([:])
    var reported = Tree.object([:])
    var desiredVersion: Int64 = 1
    var reportedVersion: Int64 = 1
    var version: Int64?
    var etag: String?
}

private struct TwinHistory {
    private let ids = [
        IdentityID(device: "d0"), IdentityID(device: "d1"), IdentityID(device: "d1", module: "m"),
    ]
    private var random: SeededRandom
    private var disk: CrashingDatabase
    private var store: any TwinStore
    private var identities: any IdentityStore
    private var twins: [IdentityID: ModelTwin] = [:]
    private var generations = 0
    /// What the outbox must hold: whose change, and whether it replaced.
    private var events: [(id: IdentityID, isReplacement: Bool, milliseconds: Int64)] = []
    private var now: Int64 = 1_700_000_000_000

    init(seed: UInt64) throws {
        self.random = SeededRandom(seed: seed)
        self.disk = try CrashingDatabase()
        self.store = EmbeddedTwinStore(self.disk.database, limits: Limits())
        self.identities = EmbeddedIdentityStore(self.disk.database, limits: Limits())
    }

    func clean() {
        self.disk.clean()
    }

    mutating func run(steps: Int) async throws {
        for id in self.ids { try await self.create(id) }
        for _ in 0..<steps {
            self.now += Int64.random(in: 0...5, using: &self.random)
            let id = self.ids.randomElement(using: &self.random) ?? self.ids[0]
            switch Int.random(in: 0..<20, using: &self.random) {
            case 0..<7: try await self.write(id)
            case 7..<14: try await self.report(id)
            case 14: try await self.crash()
            case 15: try await self.create(id)
            case 16..<18: try await self.removeEvents()
            default: try await self.writeTogether(id)
            }
            try await self.check(id)
        }
        for id in self.ids { try await self.check(id) }
        try await self.crash()
        try await self.checkEvents()
        try self.disk.database.close()
    }

    // MARK: Steps

    /// Makes an identity, or makes it anew: its twin is a fresh one then.
    private mutating func create(_ id: IdentityID) async throws {
        self.generations += 1
        let identity = RegisteredIdentity(id: id, generationID: "\(self.generations)", etag: "e")
        _ = try await self.identities.apply([.put(identity, .always)])[0].get()
        self.twins[id] = ModelTwin()
    }

    private mutating func write(_ id: IdentityID) async throws {
        let replaces = self.random.one(in: 4)
        var body: [String: Tree] = [:]
        if !self.random.one(in: 3) { body["tags"] = Tree.object(depth: 3, nulls: !replaces, &self.random) }
        if !self.random.one(in: 3) {
            body["properties"] = .object(["desired": Tree.object(depth: 3, nulls: !replaces, &self.random)])
        }
        let change = try TwinChange(
            serviceBody: ByteBuffer(string: Tree.object(body).text),
            replaces: replaces,
            limits: TwinLimits()
        )
        var step = TwinStep(id: id, change: change, milliseconds: self.now, recordsEvent: true)
        let usesTag = self.random.one(in: 3)
        let isStale = usesTag && self.random.one(in: 2)
        if usesTag { step.ifMatch = [isStale ? "AAAAAAAAAAA=" : self.twins[id]?.etag ?? "AAAAAAAAAAE="] }
        do {
            let commit = try await self.store.update(step)
            #expect(!isStale)
            var twin = self.twins[id] ?? ModelTwin()
            if let tags = body["tags"], replaces || !tags.members.isEmpty {
                twin.tags = replaces ? tags : twin.tags.merging(tags)
            }
            if let desired = body["properties"]?.members["desired"], replaces || !desired.members.isEmpty {
                twin.desired = replaces ? desired : twin.desired.merging(desired)
                twin.desiredVersion += 1
                #expect(commit.update.notice?.version == twin.desiredVersion)
            } else {
                #expect(commit.update.notice == nil)
            }
            let isChange = body.contains { name, value in
                replaces || !(name == "tags" ? value : value.members["desired"] ?? .null).members.isEmpty
            }
            self.committed(twin, commit.update, isChange: isChange, isReplacement: replaces)
        } catch {
            #expect((error as? HubError)?.code == .preconditionFailed)
            #expect(isStale)
        }
    }

    private mutating func report(_ id: IdentityID) async throws {
        let patch = Tree.object(depth: 3, nulls: true, &self.random)
        var twin = self.twins[id] ?? ModelTwin()
        let wanted = self.random.one(in: 3) ? twin.reportedVersion - (self.random.one(in: 2) ? 1 : 0) : nil
        let change = try TwinChange(
            reportedBody: ByteBuffer(string: patch.text),
            ifVersion: wanted,
            limits: TwinLimits()
        )
        do {
            let step = TwinStep(id: id, change: change, milliseconds: self.now, recordsEvent: true)
            let commit = try await self.store.update(step)
            #expect(wanted == nil || wanted == twin.reportedVersion)
            if !patch.members.isEmpty {
                twin.reported = twin.reported.merging(patch)
                twin.reportedVersion += 1
            }
            self.committed(twin, commit.update, isChange: !patch.members.isEmpty, isReplacement: false)
        } catch {
            #expect((error as? HubError)?.code == .preconditionFailed)
            #expect(wanted != twin.reportedVersion)
        }
    }

    /// Notes what a step came to; versions and tags never come again.
    private mutating func committed(_ twin: ModelTwin, _ update: TwinUpdate, isChange: Bool, isReplacement: Bool) {
        var twin = twin
        if let before = twin.version {
            #expect(update.twin.version == before + (isChange ? 1 : 0))
        }
        twin.version = update.twin.version
        twin.etag = update.twin.etag
        self.twins[update.twin.id] = twin
        if isChange { self.events.append((update.twin.id, isReplacement, self.now)) }
    }

    /// Reports that wait at the same time: each takes effect, in their order.
    private mutating func writeTogether(_ id: IdentityID) async throws {
        let first = (self.twins[id] ?? ModelTwin()).reportedVersion
        let steps = try (0..<5).map { number in
            TwinStep(
                id: id,
                change: try TwinChange(
                    reportedBody: ByteBuffer(string: "{\"a\":\(number)}"),
                    ifVersion: nil,
                    limits: TwinLimits()
                ),
                milliseconds: self.now,
                recordsEvent: true
            )
        }
        let store = self.store
        let updates = try await withCheckedThrowingContinuation { continuation in
            let answers = Answers(count: steps.count, continuation)
            for step in steps { store.submit(step) { answers.add($0) } }
        }
        #expect(updates.map(\.twin.reported.version) == (1...5).map { first + Int64($0) })
        for (number, update) in updates.enumerated() {
            var twin = self.twins[id] ?? ModelTwin()
            twin.reported = twin.reported.merging(.object(["a": .leaf("\(number)")]))
            twin.reportedVersion += 1
            self.committed(twin, update, isChange: true, isReplacement: false)
        }
    }

    private mutating func removeEvents() async throws {
        try await self.checkEvents()
        let held = try await self.store.events(limit: Int.random(in: 1...20, using: &self.random))
        guard let last = held.last else { return }
        try await self.store.removeEvents(through: last.position)
        self.events.removeFirst(held.count)
    }

    /// Goes on with what a killed process would have left: the files as they are, without an orderly close.
    private mutating func crash() async throws {
        try self.disk.crash()
        self.store = EmbeddedTwinStore(self.disk.database, limits: Limits())
        self.identities = EmbeddedIdentityStore(self.disk.database, limits: Limits())
    }

    // MARK: Checks

    private func check(_ id: IdentityID) async throws {
        let twin = try await self.store.twin(id).twin
        let model = self.twins[id] ?? ModelTwin()
        #expect(try Tree(parsing: twin.tags) == model.tags)
        #expect(try Tree(parsing: twin.desired.text) == model.desired)
        #expect(try Tree(parsing: twin.reported.text) == model.reported)
        #expect(twin.desired.version == model.desiredVersion)
        #expect(twin.reported.version == model.reportedVersion)
        if let version = model.version { #expect(twin.version == version) }
    }

    private func checkEvents() async throws {
        let held = try await self.store.events(limit: 100_000)
        #expect(held.map(\.id) == self.events.map(\.id))
        #expect(held.map(\.isReplacement) == self.events.map(\.isReplacement))
        #expect(held.map(\.milliseconds) == self.events.map(\.milliseconds))
        #expect(zip(held, held.dropFirst()).allSatisfy { $0.position < $1.position })
    }
}

/// Collects the answers of several steps, which come on one thread after another.
private final class Answers: Sendable {
    private let updates = Mutex<[TwinUpdate]>([])
    private let count: Int
    private let continuation: CheckedContinuation<[TwinUpdate], any Error>

    init(count: Int, _ continuation: CheckedContinuation<[TwinUpdate], any Error>) {
        self.count = count
        self.continuation = continuation
    }

    func add(_ outcome: Result<TwinCommit, HubError>) {
        switch outcome {
        case .success(let commit):
            let all = self.updates.withLock { updates -> [TwinUpdate] in
                updates.append(commit.update)
                return updates
            }
            if all.count == self.count { self.continuation.resume(returning: all) }
        case .failure(let error):
            self.continuation.resume(throwing: error)
        }
    }
}
