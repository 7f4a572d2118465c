// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import AMQPFront
import NIOCore
import NIOEmbedded
import Testing

/// One client connection: the AMQP engine in client role on one side, the handler in an embedded channel on the other.
final class FrontClient {
    let fixture: FrontFixture
    let channel: EmbeddedChannel
    let engine: ConnectionEngine
    var events: [ConnectionEvent] = []
    /// Frames of the server in order.
    var frames: [Performative] = []
    private var cached: Session?
    private var requests: [String: (sender: Link, receiver: Link)] = [:]
    private var names = 0

    init(_ fixture: FrontFixture, _ sasl: SASLInit?, _ limits: AMQPLimits) throws {
        self.fixture = fixture
        channel = EmbeddedChannel(handler: fixture.front.makeHandler(), loop: fixture.loop)
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 5671)).wait()
        engine = ConnectionEngine(role: .client(sasl), containerID: "client", limits: limits, now: 0)
    }

    /// Carries bytes both ways until nothing more is said.
    func run() {
        repeat {
            fixture.loop.run()
            if engine.hasOutput, channel.isActive { _ = try? channel.writeInbound(engine.takeOutput(now: 0)) }
            fixture.loop.run()
            receive()
        } while engine.hasOutput && channel.isActive
    }

    /// Takes what the server has written.
    func receive() {
        while let bytes = try? channel.readOutbound(as: ByteBuffer.self) {
            frames += Self.performatives(bytes)
            engine.receive(bytes, now: 0)
            while let event = engine.nextEvent() { events.append(event) }
        }
    }

    static func performatives(_ bytes: ByteBuffer) -> [Performative] {
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

    func session() throws -> Session {
        if let cached { return cached }
        let session = try #require(engine.begin())
        run()
        cached = session
        return session
    }

    /// Sends a performative that the engine in client role would not send by itself.
    func send(_ performative: Performative, on session: Session) {
        var bytes = ByteBuffer()
        Frame.write(to: &bytes, channel: session.channel) { performative.encode(into: &$0) }
        _ = try? channel.writeInbound(bytes)
        run()
    }

    // MARK: Links

    func attach(_ attach: Attach, credit: UInt32 = 0) throws -> Link {
        let link = try #require(engine.attach(attach, on: try session(), credit: credit))
        run()
        return link
    }

    func nextName(_ prefix: String = "link") -> String {
        names += 1
        return "\(prefix)-\(names)"
    }

    /// An attach as Python makes it.
    func readerAttach(
        _ path: String,
        filter: AMQPMap? = FrontClient.filter("amqp.annotation.x-opt-offset > '-1'"),
        epoch: Int64? = nil,
        name: String? = nil,
        metrics: Bool = false
    ) -> Attach {
        var attach = Attach(name: nextName("reader"), handle: 0, role: .receiver)
        attach.senderSettleMode = .unsettled
        attach.receiverSettleMode = .first
        attach.source = Source(address: path)
        attach.source?.filter = filter
        attach.target = Target(address: attach.name)
        var properties = AMQPMap()
        if let epoch { properties.append(.symbol("com.microsoft:epoch"), .long(epoch)) }
        if let name { properties.append(.symbol("com.microsoft:receiver-name"), .string(name)) }
        if !properties.entries.isEmpty { attach.properties = properties }
        attach.desiredCapabilities = ["com.microsoft:georeplication"]
        if metrics { attach.desiredCapabilities?.append("com.microsoft:enable-receiver-runtime-metric") }
        return attach
    }

    static func path(_ partition: Int = 0, group: String = "$Default") -> String {
        "amqps://myhub.example.net/myhub/ConsumerGroups/\(group)/Partitions/\(partition)"
    }

    static func filter(_ text: String) -> AMQPMap {
        let name = "apache.org:selector-filter:string"
        return [.symbol(name): .described(.symbol(name), .string(text))]
    }

    /// A reader with credit.
    func read(
        _ partition: Int = 0,
        group: String = "$Default",
        filter: String = "amqp.annotation.x-opt-offset > '-1'",
        epoch: Int64? = nil,
        name: String? = nil,
        credit: UInt32 = 300
    ) throws -> Link {
        let attach = readerAttach(
            Self.path(partition, group: group),
            filter: Self.filter(filter),
            epoch: epoch,
            name: name
        )
        return try self.attach(attach, credit: credit)
    }

    /// Why a link is gone; nil while it is not.
    func error(of link: Link) -> AMQPError? {
        for case .detached(let other, let error?) in events where other === link { return error }
        return nil
    }

    func deliveries(_ link: Link) -> [IncomingDelivery] {
        events.compactMap { event in
            if case .delivery(let other, let delivery) = event, other === link { delivery } else { nil }
        }
    }

    func messages(_ link: Link) throws -> [Message] { try deliveries(link).map { try Message(payload: $0.payload) } }

    func bodies(_ link: Link) throws -> [String] {
        try messages(link).map { message in
            if case .data(let bytes) = message.body { String(buffer: bytes) } else { "not data" }
        }
    }

    func numbers(_ link: Link) throws -> [Int64] {
        try messages(link).compactMap { $0.messageAnnotations?["x-opt-sequence-number"]?.integer }
    }

    // MARK: Requests

    /// A pair of links to `$cbs` or a management node.
    func pair(_ address: String, replyTo: String? = nil) throws -> (sender: Link, receiver: Link) {
        if let pair = requests[address] { return pair }
        var receiver = Attach(name: nextName("\(address)-receiver"), handle: 0, role: .receiver)
        receiver.source = Source(address: address)
        receiver.target = Target(address: replyTo ?? address)
        let receiving = try attach(receiver, credit: 10)
        var sender = Attach(name: nextName("\(address)-sender"), handle: 0, role: .sender)
        sender.source = Source(address: address)
        sender.target = Target(address: address)
        let sending = try attach(sender)
        requests[address] = (sending, receiving)
        return (sending, receiving)
    }

    func request(_ message: Message, to address: String) throws -> Message? {
        let (sender, receiver) = try pair(address)
        let before = deliveries(receiver).count
        engine.send(on: sender, settled: false) { message.encode(into: &$0) }
        run()
        return try messages(receiver).dropFirst(before).first
    }

    /// Puts a token and returns the status code of the answer.
    func putToken(_ token: String, name: String = "sb://myhub.example.net/myhub") throws -> Int64? {
        let answer = try request(Self.putToken(token, name: name), to: "$cbs")
        return answer?.applicationProperties?["status-code"]?.integer
    }

    static func putToken(
        _ token: String,
        name: String = "sb://myhub.example.net/myhub",
        type: String = "servicebus.windows.net:sastoken",
        id: AMQPValue = .ulong(0)
    ) -> Message {
        var message = Message()
        message.properties = MessageProperties()
        message.properties?.messageID = id
        message.applicationProperties = [
            .string("name"): .string(name), .string("operation"): .string("put-token"), .string("type"): .string(type),
        ]
        message.body = .value(.string(token))
        return message
    }
}
