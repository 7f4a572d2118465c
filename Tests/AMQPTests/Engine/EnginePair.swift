// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import NIOCore
import Testing

/// Two engines back to back; everything that either says is kept for the test to look at.
final class EnginePair {
    let client: ConnectionEngine
    let server: ConnectionEngine
    var clientEvents: [ConnectionEvent] = []
    var serverEvents: [ConnectionEvent] = []
    /// The frames that the server sent.
    var fromServer: [Performative] = []
    /// The frames that the client sent.
    var fromClient: [Performative] = []
    /// How the server answers an attach; nil leaves it open.
    var onAttach: ((ConnectionEngine, Link) -> Void)? = { engine, link in
        engine.accept(link, with: engine.reply(to: link), credit: link.role == .receiver ? 10 : 0)
    }
    var now: Int64 = 0
    /// How many bytes cross at once.
    var chunk = Int.max

    init(
        sasl: SASLInit? = SASLInit(mechanism: "ANONYMOUS"),
        clientLimits: AMQPLimits = .init(),
        serverLimits: AMQPLimits = .init()
    ) {
        client = ConnectionEngine(role: .client(sasl), containerID: "client", limits: clientLimits, now: 0)
        server = ConnectionEngine(
            role: .server(mechanisms: SASLMechanism.allCases.map(\.rawValue)),
            containerID: "server",
            limits: serverLimits,
            now: 0
        )
    }

    /// Carries bytes both ways until nothing more is said.
    func run() {
        while client.hasOutput || server.hasOutput {
            let up = client.takeOutput(now: now)
            fromClient += performatives(up)
            deliver(up, to: server)
            while let event = server.nextEvent() { serverReceived(event) }
            let down = server.takeOutput(now: now)
            fromServer += performatives(down)
            deliver(down, to: client)
            while let event = client.nextEvent() { clientEvents.append(event) }
        }
    }

    private func deliver(_ bytes: ByteBuffer, to engine: ConnectionEngine) {
        var rest = bytes
        while let part = rest.readSlice(length: min(chunk, rest.readableBytes)), part.readableBytes > 0 {
            engine.receive(part, now: now)
            while let event = engine.nextEvent() {
                if engine === server { serverReceived(event) } else { clientEvents.append(event) }
            }
        }
    }

    private func serverReceived(_ event: ConnectionEvent) {
        serverEvents.append(event)
        switch event {
        case .saslInit: server.finishSASL(.ok)
        case .attached(let link): onAttach?(server, link)
        default: break
        }
    }

    private func performatives(_ bytes: ByteBuffer) -> [Performative] {
        var bytes = bytes
        var result: [Performative] = []
        while bytes.readableBytes > 0 {
            if case .header = ProtocolHeader.read(from: &bytes) { continue }
            guard let frame = try? Frame.read(from: &bytes, bytesMax: .max) else { break }
            var body = frame.body
            if frame.kind == .amqp, body.readableBytes > 0, let performative = try? Performative(body: &body) {
                result.append(performative)
            }
        }
        return result
    }

    /// Opens the connection and begins a session.
    func session() throws -> Session {
        run()
        let session = try #require(client.begin())
        run()
        #expect(session.state == .active)
        return session
    }

    /// Attaches a link of the client; the server's end of it is returned too.
    func link(_ role: LinkRole, name: String = "link", on session: Session, credit: UInt32 = 0) throws -> (Link, Link) {
        var attach = Attach(name: name, handle: 0, role: role)
        attach.source = Source(address: "node")
        attach.target = Target(address: "node")
        let link = try #require(client.attach(attach, on: session, credit: credit))
        run()
        let theirs = serverEvents.reversed().lazy.compactMap { event -> Link? in
            if case .attached(let link) = event { link } else { nil }
        }
        return (link, try #require(theirs.first { $0.name == name }))
    }

    var deliveriesAtClient: [IncomingDelivery] {
        clientEvents.compactMap { if case .delivery(_, let delivery) = $0 { delivery } else { nil } }
    }

    var deliveriesAtServer: [IncomingDelivery] {
        serverEvents.compactMap { if case .delivery(_, let delivery) = $0 { delivery } else { nil } }
    }

    var serverFailure: AMQPError? {
        serverEvents.lazy.compactMap { if case .failed(let error) = $0 { error } else { nil } }.first
    }
}

extension ConnectionEngine {
    func send(_ text: String, on link: Link, settled: Bool = true) {
        send(on: link, settled: settled) { $0.writeAMQPDataSection(ByteBuffer(string: text)) }
    }

    /// Takes a performative as if the peer had sent it.
    func receive(
        _ performative: Performative,
        channel: UInt16 = 0,
        payload: ByteBuffer = ByteBuffer()
    ) -> [ConnectionEvent] {
        var bytes = ByteBuffer()
        Frame.write(to: &bytes, channel: channel) { buffer in
            performative.encode(into: &buffer)
            buffer.writeImmutableBuffer(payload)
        }
        receive(bytes, now: 0)
        var events: [ConnectionEvent] = []
        while let event = nextEvent() { events.append(event) }
        return events
    }
}
