// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import HubClient
import HubModel
import NIOCore
import Synchronization

/// Calls methods of many devices at a rate, over HTTPS.
final class MethodCalls: MeasuredLoad {
    private struct State {
        var figures = FleetFigures()
        var isRunning = false
        var isMeasuring = false
        var isOver = false
        var underWay = 0
    }

    private let service: ServiceClient
    private let ids: [String]
    private let rate: Double
    private let underWayMax: Int
    private let payload: Data
    private let state = Mutex(State())

    /// - Parameters:
    ///   - service: what calls.
    ///   - ids: the devices that are called, in turn.
    ///   - rate: calls a second.
    ///   - underWayMax: how many calls wait at once; where that is reached a call is left out.
    ///   - payload: what each call carries, as JSON.
    init(service: ServiceClient, ids: [String], rate: Double, underWayMax: Int, payload: Data) {
        self.service = service
        self.ids = ids
        self.rate = rate
        self.underWayMax = underWayMax
        self.payload = payload
    }

    func start() async throws { self.state.withLock { $0.isRunning = true } }

    func measure() async throws { self.state.withLock { $0.isMeasuring = true } }

    func pause() async throws {
        self.state.withLock { state in
            state.isRunning = false
            state.isMeasuring = false
        }
    }

    func figures() async throws -> FleetFigures { self.state.withLock { $0.figures } }

    /// Ends ``pump()``.
    func end() { self.state.withLock { $0.isOver = true } }

    /// Makes the calls that are due, until ``end()``.
    func pump() async throws {
        try await withThrowingDiscardingTaskGroup { tasks in
            var due: UInt64?
            var turn = 0
            let step = UInt64(1e9 / self.rate)
            while true {
                let (isRunning, isOver) = self.state.withLock { ($0.isRunning, $0.isOver) }
                if isOver {
                    return
                }
                let now = NIODeadline.now().uptimeNanoseconds
                if isRunning {
                    var next = due ?? now
                    while next <= now {
                        next += step
                        guard self.begin() else { continue }
                        turn = (turn + 1) % self.ids.count
                        let id = IdentityID(device: self.ids[turn])
                        tasks.addTask { await self.call(id) }
                    }
                    due = next
                }
                try await Task.sleep(for: .microseconds(500))
            }
        }
    }

    private func begin() -> Bool {
        self.state.withLock { state in
            guard state.underWay < self.underWayMax else { return false }
            state.underWay += 1
            return true
        }
    }

    private func call(_ id: IdentityID) async {
        let start = NIODeadline.now().uptimeNanoseconds
        var failure: HubClientError?
        do {
            let answer = try await self.service.invoke("echo", on: id, payload: self.payload)
            if answer.value.status != 200 {
                failure = .protocolViolation("a method answered \(answer.value.status)")
            }
        } catch {
            failure = error as? HubClientError ?? .closed(during: "a call")
        }
        let took = NIODeadline.now().uptimeNanoseconds &- start
        self.state.withLock { state in
            state.underWay -= 1
            guard let failure else {
                state.figures.methods += 1
                if state.isMeasuring {
                    state.figures.latency.add(nanoseconds: took)
                }
                return
            }
            state.figures.errors += 1
            state.figures.firstFailure = state.figures.firstFailure ?? failure
        }
    }
}
