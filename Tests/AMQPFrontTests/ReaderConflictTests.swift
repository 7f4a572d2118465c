// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import AMQPFront
import Hub
import NIOCore
import NIOEmbedded
import Testing

@Suite struct ReaderConflictTests {
    @Test func `event_hubs 050 a higher epoch displaces the reader there is`() throws {
        let fixture = FrontFixture()
        let (one, two) = (try fixture.reader(), try fixture.reader())
        let first = try one.read(epoch: 5, name: "a")
        let second = try two.read(epoch: 6, name: "b")
        one.run()
        #expect(
            one.error(of: first)
                == AMQPError(
                    .linkStolen,
                    "New receiver 'b' with higher epoch of '6' is created hence current receiver 'a' with epoch '5' is getting "
                        + "disconnected. If you are recreating the receiver, make sure a higher epoch is used."
                )
        )
        try fixture.publish(["x"], device: "d")
        two.run()
        #expect(try two.bodies(second) == ["x"])
        #expect(one.engine.isOpen)
    }

    @Test func `the detach of the old link precedes the attach of the new one on the same connection`() throws {
        let client = try FrontFixture().reader()
        _ = try client.read(epoch: 5)
        let before = client.frames.count
        _ = try client.read(epoch: 5)
        guard case .detach? = client.frames.dropFirst(before).first,
            case .attach? = client.frames.dropFirst(before + 1).first
        else {
            Issue.record("wrong order")
            return
        }
    }

    @Test func `event_hubs 051 a lower epoch is refused and disturbs nobody`() throws {
        let fixture = FrontFixture()
        let client = try fixture.reader()
        let first = try client.read(epoch: 5, name: "a")
        let second = try client.read(epoch: 4)
        #expect(
            client.error(of: second)
                == AMQPError(
                    .linkStolen,
                    "Receiver 'a' with a higher epoch '5' already exists. Receiver 'nil' with epoch 4 cannot be created. Make sure "
                        + "you are creating receiver with increasing epoch value to ensure connectivity, or ensure all old epoch "
                        + "receivers are closed or disconnected."
                )
        )
        #expect(client.error(of: first) == nil)
        try fixture.publish(["x"], device: "d")
        client.run()
        #expect(try client.bodies(first) == ["x"])
    }

    @Test func `event_hubs 052 an equal epoch displaces`() throws {
        let client = try FrontFixture().reader()
        let first = try client.read(epoch: 0)
        let second = try client.read(epoch: 0)
        #expect(client.error(of: first)?.condition == .linkStolen)
        #expect(second.state == .attached)
    }

    @Test func `event_hubs 053 a reader without epoch is refused beside one with`() throws {
        let client = try FrontFixture().reader()
        let first = try client.read(epoch: 7)
        #expect(
            client.error(of: try client.read())
                == AMQPError(
                    .linkStolen,
                    "At least one receiver for the endpoint is created with epoch of '7', and so non-epoch receiver is not allowed. "
                        + "Either reconnect with a higher epoch, or make sure all epoch receivers are closed or disconnected."
                )
        )
        // Its epoch is forgotten with it.
        client.engine.detach(first)
        client.run()
        #expect(try client.read().state == .attached)
    }

    @Test func `event_hubs 054 an epoch reader displaces all without`() throws {
        let client = try FrontFixture().reader()
        let five = try (0..<5).map { _ in try client.read() }
        let owner = try client.read(epoch: 1)
        #expect(owner.state == .attached)
        for link in five { #expect(client.error(of: link)?.condition == .linkStolen) }
    }

    @Test func `event_hubs 055 a sixth reader is refused`() throws {
        let client = try FrontFixture().reader()
        for index in 0..<5 { #expect(try client.read(name: index == 0 ? "first" : nil).state == .attached) }
        let sixth = client.error(of: try client.read())
        #expect(sixth?.condition == .resourceLimitExceeded)
        #expect(
            sixth?.description
                == "Exceeded the maximum number of allowed receivers per partition in a consumer group which is 5. List of connected "
                + "receivers - first, nil, nil, nil, nil."
        )
        #expect(try client.read(1).state == .attached)
        #expect(try client.read(0, group: "second").state == .attached)
    }

    @Test(arguments: ["closed", "end of input", "error"])
    func `event_hubs 056 readers of a socket that vanished are forgotten at once`(_ how: String) throws {
        let fixture = FrontFixture()
        let lost = try fixture.reader()
        for _ in 0..<5 { #expect(try lost.read().state == .attached) }
        switch how {
        case "closed": lost.channel.close(promise: nil)
        case "end of input": lost.channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        default: lost.channel.pipeline.fireErrorCaught(CancellationError())
        }
        fixture.loop.run()
        #expect(fixture.hub.readers.count == 0)
        #expect(fixture.store.watchCount == 0)
        let next = try fixture.reader()
        for _ in 0..<5 { #expect(try next.read().state == .attached) }
    }

    @Test(arguments: [
        "nope/ConsumerGroups/$Default/Partitions/0", "myhub/ConsumerGroups/nope/Partitions/0",
        "myhub/ConsumerGroups/$Default/Partitions/4",
        "myhub/ConsumerGroups/$Default/Partitions/x", "myhub/ConsumerGroups/$Default/Partitions/00",
        "what/is/this/then", "nope/$management",
    ])
    func `event_hubs 057 what does not exist is refused with the text that clients look for`(_ path: String) throws {
        let client = try FrontFixture().reader("sb://myhub.example.net")
        let link = try client.attach(client.readerAttach(path))
        let error = client.error(of: link)
        #expect(error?.condition == .notFound)
        #expect(error?.description == "The messaging entity 'sb://myhub.example.net/\(path)' could not be found.")
        guard case .attach(let attach)? = client.frames.dropLast().last, case .detach(let detach)? = client.frames.last
        else {
            Issue.record("no attach and detach")
            return
        }
        #expect(attach.source == nil && attach.target == nil && attach.initialDeliveryCount == 0)
        #expect(detach.closed == true)
        #expect(client.engine.isOpen)
        #expect(try client.read().state == .attached)
    }

    @Test func `detaching and ending free the reader's place`() throws {
        let fixture = FrontFixture()
        let client = try fixture.reader()
        let link = try client.read()
        #expect(fixture.hub.readers.count == 1)
        client.engine.detach(link)
        client.run()
        #expect(fixture.hub.readers.count == 0)
        _ = try client.read()
        client.engine.end(try client.session())
        client.run()
        #expect(fixture.hub.readers.count == 0)
        #expect(fixture.store.watchCount == 0)
    }
}
