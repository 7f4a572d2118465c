// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// What is to be told to event loops after one commit: one `execute` per loop, whatever there is to tell.
struct WakeList {
    typealias Answer = (promise: EventLoopPromise<AppendResult>, result: Result<AppendResult, EventLogError>)

    private struct Group {
        let loop: any EventLoop
        var answers: [Answer] = []
        var calls: [@Sendable () -> Void] = []
    }

    private var groups: [Group] = []

    /// Completes an append.
    mutating func add(_ promise: EventLoopPromise<AppendResult>, _ result: Result<AppendResult, EventLogError>) {
        groups[index(of: promise.futureResult.eventLoop)].answers.append((promise, result))
    }

    /// Calls something on a loop.
    mutating func add(_ loop: any EventLoop, _ call: @escaping @Sendable () -> Void) {
        groups[index(of: loop)].calls.append(call)
    }

    private mutating func index(of loop: any EventLoop) -> Int {
        if let index = groups.firstIndex(where: { $0.loop === loop }) { return index }
        groups.append(Group(loop: loop))
        return groups.count - 1
    }

    /// Tells the loops.
    ///
    /// Acknowledgements come before wakes of readers, in the order of the appends.
    consuming func fire() {
        for group in groups {
            let (answers, calls) = (group.answers, group.calls)
            group.loop.execute {
                for answer in answers { answer.promise.completeWith(answer.result.mapError { $0 }) }
                for call in calls { call() }
            }
        }
    }
}
