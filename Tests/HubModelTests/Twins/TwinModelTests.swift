// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel
import JSON
import NIOCore
import Testing

/// Random changes against a model that is plain dictionaries.
struct TwinModelTests {
    indirect enum Model: Equatable {
        case null
        case scalar(String)
        case object([String: Model])

        func merged(with patch: Model) -> Model {
            guard case .object(let changes) = patch else { return patch }
            var members: [String: Model] = [:]
            if case .object(let old) = self { members = old }
            for (name, change) in changes {
                members[name] = change == .null ? nil : (members[name] ?? .null).merged(with: change)
            }
            return .object(members)
        }

        var text: String {
            switch self {
            case .null: "null"
            case .scalar(let text): text
            case .object(let members):
                "{" + members.map { "\"\($0.key)\":\($0.value.text)" }.joined(separator: ",") + "}"
            }
        }

        /// How many values have metadata: this one and all below.
        var count: Int {
            guard case .object(let members) = self else { return 1 }
            return members.values.reduce(1) { $0 + $1.count }
        }

        init(_ value: JSONValue) {
            switch value.kind {
            case .null: self = .null
            case .object:
                self = .object(
                    Dictionary(value.members.map { ($0.name, Model($0.value)) }, uniquingKeysWith: { $1 })
                )
            default: self = .scalar(value.raw.text)
            }
        }

        static func random(depth: Int, nulls: Bool, _ generator: inout SplitMix) -> Model {
            let scalars = ["1", "-2.50", "true", "false", "\"x\"", "[1,[2],{\"a\":3}]", "\"\"", "1E2"]
            let choice = generator.next() % 10
            if choice < 3, nulls { return .null }
            if choice < 6, depth < 4 { return randomObject(depth: depth, nulls: nulls, &generator) }
            return .scalar(scalars[Int(generator.next() % UInt64(scalars.count))])
        }

        static func randomObject(depth: Int, nulls: Bool, _ generator: inout SplitMix) -> Model {
            var members: [String: Model] = [:]
            for _ in 0..<generator.next() % 6 {
                members["k\(generator.next() % 8)"] = random(depth: depth + 1, nulls: nulls, &generator)
            }
            return .object(members)
        }
    }

    struct SplitMix: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var mixed = state
            mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
            mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
            return mixed ^ (mixed >> 31)
        }
    }

    @Test(arguments: 0..<20)
    func `random changes agree with a model of dictionaries and raise versions by one`(_ seed: Int) throws {
        var generator = SplitMix(state: UInt64(seed))
        var twin = Twin(freshFor: TwinFixtures.id)
        var tags = Model.object([:])
        var desired = Model.object([:])
        var reported = Model.object([:])
        for step in 0..<200 {
            let before = twin
            let patch = Model.randomObject(depth: 0, nulls: true, &generator)
            let isEmpty = patch == .object([:])
            switch generator.next() % 4 {
            case 0:
                tags = tags.merged(with: patch)
                twin = try twin.patched("{\"tags\":\(patch.text)}").twin
                #expect(twin.desired == before.desired)
                #expect(twin.etagNumber == before.etagNumber + (isEmpty ? 0 : 1))
            case 1:
                desired = desired.merged(with: patch)
                twin = try twin.desiring(patch.text, at: Int64(step)).twin
                #expect(twin.desired.version == before.desired.version + (isEmpty ? 0 : 1))
                #expect(twin.etagNumber == before.etagNumber + (isEmpty ? 0 : 1))
            case 2:
                reported = reported.merged(with: patch)
                twin = try twin.reporting(patch.text, at: Int64(step)).twin
                #expect(twin.reported.version == before.reported.version + (isEmpty ? 0 : 1))
                #expect(twin.etagNumber == before.etagNumber)
            default:
                desired = Model.object([:]).merged(with: patch)
                twin = try twin.replaced("{\"properties\":{\"desired\":\(patch.text)}}").twin
                #expect(twin.desired.version == before.desired.version + 1)
            }
            #expect(twin.version == before.version + (twin == before ? 0 : 1))
            #expect(try Model(JSONDocument(parsing: twin.tags).root) == tags)
            #expect(try Model(JSONDocument(parsing: twin.desired.text).root) == desired)
            #expect(try Model(JSONDocument(parsing: twin.reported.text).root) == reported)
            #expect(twin.desired.stamps.values.count == desired.count)
            #expect(twin.reported.stamps.values.count == reported.count)
            #expect(twin.desired.stamps.values.allSatisfy { $0.version <= twin.desired.version })
        }
    }
}
