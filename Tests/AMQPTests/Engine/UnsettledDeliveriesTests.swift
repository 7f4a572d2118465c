// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

@testable import AMQP
import NIOCore
import Testing

@Suite struct UnsettledDeliveriesTests {
    static func link() -> Link {
        let session = Session(channel: 0, state: .active, nextOutgoingID: 0, incomingWindow: 1)
        let attach = Attach(name: "a", handle: 0, role: .receiver)
        return Link(session: session, name: "a", role: .sender, handle: 0, state: .attached, remoteAttach: attach)
    }

    @Test func `a disposition that says nothing new is no event`() throws {
        let pair = EnginePair()
        let session = try pair.session()
        let (_, theirs) = try pair.link(.receiver, on: session, credit: 5)
        for _ in 0..<5 { pair.server.send("x", on: theirs, settled: false) }
        var told = Disposition(role: .receiver, first: 1, last: 0x7fff_ffff, settled: false)
        told.state = .received(section: 0, offset: 0)
        #expect(pair.server.receive(.disposition(told)).count == 4)
        #expect(pair.server.receive(.disposition(told)).isEmpty)
        told.state = .accepted
        #expect(pair.server.receive(.disposition(told)).count == 4)
        #expect(pair.server.receive(.disposition(told)).isEmpty)
        told.state = .received(section: 0, offset: 1)
        #expect(pair.server.receive(.disposition(told)).isEmpty)
        let settled = Disposition(role: .receiver, first: 0, last: 3, settled: true, state: .accepted)
        let ids = pair.server.receive(.disposition(settled)).compactMap {
            if case .disposition(_, let id, _, true) = $0 { id } else { nil }
        }
        #expect(ids == [0, 1, 2, 3])
        #expect(pair.server.receive(.disposition(settled)).isEmpty)
        #expect(theirs.session.unsettledOutgoing.count == 1)
    }

    @Test func `ranges and stages are kept apart, over the wrap of the ids too`() {
        let link = Self.link()
        for start in [0, UInt32.max - 5] {
            var unsettled = UnsettledDeliveries()
            for offset in 0..<12 as Range<UInt32> { unsettled.append(start &+ offset, link: link) }
            func advance(_ first: UInt32, _ last: UInt32, _ stage: UnsettledDeliveries.Stage) -> [UInt32] {
                unsettled.advance(start &+ first, through: start &+ last, to: stage).map { $0.id &- start }
            }
            #expect(advance(8, 9, .decided) == [8, 9])
            #expect(advance(2, 3, .decided) == [2, 3])
            #expect(advance(5, 5, .received) == [5])
            #expect(advance(1, 9, .decided) == [1, 4, 5, 6, 7])
            #expect(advance(11, 500, .received) == [11])
            #expect(advance(12, 500, .settled).isEmpty)
            unsettled.remove(start &+ 4)
            unsettled.remove(start &+ 4)
            #expect(unsettled.count == 11)
            #expect(advance(3, 11, .settled) == [3, 5, 6, 7, 8, 9, 10, 11])
            #expect(advance(0, 11, .settled) == [0, 1, 2])
            #expect(unsettled.count == 0)
        }
    }

    @Test func `what a link leaves goes with it`() {
        let (one, other) = (Self.link(), Self.link())
        var unsettled = UnsettledDeliveries()
        for id in 0..<10 as Range<UInt32> { unsettled.append(id, link: id % 2 == 0 ? one : other) }
        unsettled.removeAll(of: one)
        #expect(unsettled.advance(0, through: 9, to: .settled).map(\.id) == [1, 3, 5, 7, 9])
    }
}
