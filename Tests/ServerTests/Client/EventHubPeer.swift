// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import HubClient
import NIOCore
import NIOPosix
import Synchronization

/// The hub's end of a reader's AMQP connection, as little as a reader needs: `$cbs`, `$management`, partitions.
final class EventHubPeer: Sendable {
    /// What the peer does.
    struct Behaviour: Sendable {
        /// The status of the answer to put-token.
        var tokenStatus: Int32 = 200
        /// The partitions that the management node tells.
        var partitions = ["0", "1"]
        /// The partition whose receiver is refused.
        var refused: String?
        /// How many events each partition sends, as credit allows.
        var events = 3
        /// How long a wrong status's description is.
        var description = "OK"
        /// What becomes of commands and telemetry that are sent to it; nil leaves them unsettled.
        var outcome: DeliveryState? = .accepted
        /// Feedback that it sends, as JSON.
        var feedback: String?
    }

    /// What came.
    struct Received: Sendable {
        var tokens: [String] = []
        var audiences: [String] = []
        var sources: [String] = []
        var selectors: [String] = []
        var commands: [Message] = []
        /// How many messages came to each address of a device.
        var telemetry: [String: Int] = [:]
        var outcomes: [DeliveryState?] = []
    }

    let port: Int
    private let channel: any Channel
    private let log: Log

    var received: Received { self.log.state.withLock { $0 } }

    init(_ behaviour: Behaviour = .init()) async throws {
        let log = Log()
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Handler(behaviour, log))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        self.channel = channel
        self.log = log
        self.port = channel.localAddress?.port ?? 0
    }

    deinit {
        self.channel.close(promise: nil)
    }

    /// What reads the peer.
    var plan: EventReaderPlan {
        var address = HubAddress(hostName: "hub.example.com")
        address.connectHost = "127.0.0.1"
        address.isPlain = true
        address.amqpPort = self.port
        return EventReaderPlan(address: address, eventHubName: "hub", policy: "service", key: "c2VjcmV0")
    }

    /// What came, for whoever asks.
    final class Log: Sendable {
        let state = Mutex(Received())
    }

    /// The peer of one connection.
    final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private let behaviour: Behaviour
        private let log: Log
        private let engine = ConnectionEngine(
            role: .server(mechanisms: ["ANONYMOUS"]),
            containerID: "peer",
            now: 0
        )
        private var answers: [String: Link] = [:]
        private var sent: [UInt32: Int] = [:]

        init(_ behaviour: Behaviour, _ log: Log) {
            self.behaviour = behaviour
            self.log = log
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            self.engine.receive(self.unwrapInboundIn(data), now: 0)
            while let event = self.engine.nextEvent() {
                self.received(event)
            }
            context.writeAndFlush(self.wrapOutboundOut(self.engine.takeOutput(now: 0)), promise: nil)
        }

        private func received(_ event: ConnectionEvent) {
            switch event {
            case .saslInit: self.engine.finishSASL(.ok)
            case .attached(let link): self.attached(link)
            case .flow(_, let link?, _): self.sendEvents(on: link)
            case .delivery(let link, let delivery): self.asked(delivery, on: link)
            case .disposition(_, _, let state, _): self.log.state.withLock { $0.outcomes.append(state) }
            default: break
            }
        }

        private func attached(_ link: Link) {
            let attach = link.remoteAttach
            if link.role == .receiver {
                self.engine.accept(link, with: self.engine.reply(to: link), credit: 10)
                return
            }
            let source = attach.source?.address ?? ""
            self.log.state.withLock { state in
                state.sources.append(source)
                if case .described(_, .string(let text))? = attach.source?.filter?.entries.first?.value {
                    state.selectors.append(text)
                }
            }
            if let refused = self.behaviour.refused, source.hasSuffix("/Partitions/\(refused)") {
                self.engine.refuse(link, AMQPError(.resourceLimitExceeded, "Exceeded the maximum number of receivers."))
                return
            }
            self.engine.accept(link, with: self.engine.reply(to: link))
            self.answers[source] = link
        }

        private func asked(_ delivery: IncomingDelivery, on link: Link) {
            guard let message = try? Message(payload: delivery.payload) else { return }
            let address = link.remoteAttach.target?.address ?? ""
            if address.hasPrefix("/") {
                self.log.state.withLock { state in
                    if address == "/messages/devicebound" {
                        state.commands.append(message)
                    } else {
                        state.telemetry[address, default: 0] += 1
                    }
                }
                if let outcome = self.behaviour.outcome {
                    self.engine.settle(delivery.id, on: link.session, outcome)
                }
                return
            }
            let properties = message.applicationProperties ?? [:]
            var answer = Message()
            var standard = MessageProperties()
            standard.correlationID = message.properties?.messageID
            answer.properties = standard
            if properties["operation"]?.text == "put-token" {
                self.log.state.withLock { state in
                    if case .value(.string(let token)) = message.body { state.tokens.append(token) }
                    state.audiences.append(properties["name"]?.text ?? "")
                }
                answer.applicationProperties = [
                    .string("status-code"): .int(self.behaviour.tokenStatus),
                    .string("status-description"): .string(self.behaviour.description),
                ]
                self.answer(answer, from: "$cbs")
            } else {
                answer.applicationProperties = [.string("status-code"): .int(200)]
                let ids = self.behaviour.partitions.map { AMQPValue.string($0) }
                answer.body = .value(.map([.string("partition_ids"): .array(ids)]))
                self.answer(answer, from: "hub/$management")
            }
        }

        private func answer(_ message: Message, from node: String) {
            guard let link = self.answers[node], self.engine.canSend(on: link) else { return }
            self.engine.send(on: link, settled: true) { message.encode(into: &$0) }
        }

        private func sendEvents(on link: Link) {
            if let feedback = self.behaviour.feedback, link.remoteAttach.source?.address?.hasSuffix("/feedback") == true
            {
                guard self.sent[link.handle] == nil, self.engine.canSend(on: link) else { return }
                self.sent[link.handle] = 1
                var message = Message()
                message.body = .data(ByteBuffer(string: feedback))
                self.engine.send(on: link, settled: false) { message.encode(into: &$0) }
                return
            }
            guard let source = link.remoteAttach.source?.address, source.contains("/Partitions/") else { return }
            while self.sent[link.handle, default: 0] < self.behaviour.events, self.engine.canSend(on: link) {
                let number = self.sent[link.handle, default: 0]
                var message = Message()
                message.messageAnnotations = [
                    .symbol("iothub-connection-device-id"): .string("dev1"),
                    .symbol("x-opt-sequence-number"): .long(Int64(number)),
                    .symbol("x-opt-offset"): .string("\(number * 100)"),
                    .symbol("x-opt-enqueued-time"): .timestamp(1_700_000_000_000),
                ]
                message.body = .data(ByteBuffer(string: "event \(number)"))
                self.engine.send(on: link, settled: true) { message.encode(into: &$0) }
                self.sent[link.handle] = number + 1
            }
        }
    }
}
