// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import NIOCore
import NIOPosix

/// A load of telemetry over AMQP: many devices, one link each, multiplexed on a few connections.
public struct LinkLoadPlan: Sendable {
    /// Where the hub is.
    public var address: HubAddress
    /// The ids of the devices.
    public var devices: [String]
    /// The key of all the devices as base64 text.
    public var key: String
    /// Over how many connections the devices are spread.
    public var connections = 1
    /// How many messages of a link wait for their settlement.
    public var window = 16
    /// Bytes in the body of a message.
    public var bodyBytes = 256
    /// How many event loops the connections share.
    public var threads = 1

    /// Makes a plan with the usual figures.
    ///
    /// - Parameters:
    ///   - address: where the hub is.
    ///   - devices: the ids of the devices.
    ///   - key: the key of all the devices as base64 text.
    public init(address: HubAddress, devices: [String], key: String) {
        self.address = address
        self.devices = devices
        self.key = key
    }
}

/// A load of telemetry over AMQP at work.
public final class LinkLoad: MeasuredLoad {
    private let group: MultiThreadedEventLoopGroup
    private let senders: [NIOLoopBound<TelemetryLinks>]

    private init(group: MultiThreadedEventLoopGroup, senders: [NIOLoopBound<TelemetryLinks>]) {
        self.group = group
        self.senders = senders
    }

    /// Runs `body` once every link is attached; ends the connections afterwards.
    ///
    /// - Parameters:
    ///   - plan: the devices.
    ///   - body: what is done with them.
    /// - Returns: what `body` returns.
    /// - Throws: what `body` throws, and ``HubClientError``.
    public static func with<Result: Sendable>(
        _ plan: LinkLoadPlan,
        _ body: (LinkLoad) async throws -> Result
    ) async throws -> Result {
        let connector = try ClientChannel(address: plan.address)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: plan.threads)
        do {
            var senders: [NIOLoopBound<TelemetryLinks>] = []
            for index in 0..<plan.connections {
                let devices = stride(from: index, to: plan.devices.count, by: plan.connections).map { plan.devices[$0] }
                senders.append(try await Self.open(devices, plan: plan, on: group.next(), connector))
            }
            let load = LinkLoad(group: group, senders: senders)
            let result = try await body(load)
            try await load.pause()
            try await group.shutdownGracefully()
            return result
        } catch {
            try await group.shutdownGracefully()
            throw error
        }
    }

    private static func open(
        _ devices: [String],
        plan: LinkLoadPlan,
        on loop: any EventLoop,
        _ connector: ClientChannel
    ) async throws -> NIOLoopBound<TelemetryLinks> {
        let host = plan.address.bareHostName
        let linkPlan = try LinkPlan(
            address: plan.address,
            purpose: "the sending of telemetry",
            claims: devices.map { .init(audience: "\(host)/devices/\($0)", key: plan.key) },
            links: devices.map { .init(node: "/devices/\($0)/messages/events", role: .sender) }
        )
        let user = try await loop.submit {
            NIOLoopBound(TelemetryLinks(plan: plan, links: devices.count), eventLoop: loop)
        }.get()
        _ = try await connector.open(linkPlan, on: loop) { user.value }.get()
        return user
    }

    /// Begins to send.
    public func start() async throws {
        try await self.onEach { $0.start() }
    }

    /// Starts counting durations.
    public func measure() async throws {
        try await self.onEach { $0.isMeasuring = true }
    }

    /// Sends nothing more.
    public func pause() async throws {
        try await self.onEach { $0.pause() }
    }

    /// What happened so far: messages accepted, and from the sending to the settlement.
    public func figures() async throws -> FleetFigures {
        var total = FleetFigures()
        for sender in self.senders {
            total.add(try await sender.eventLoop.submit { sender.value.figures }.get())
        }
        return total
    }

    private func onEach(_ body: @escaping @Sendable (TelemetryLinks) -> Void) async throws {
        for sender in self.senders {
            try await sender.eventLoop.submit { body(sender.value) }.get()
        }
    }
}

/// The links of one connection, each sending whenever its window has room.
final class TelemetryLinks: LinkUser {
    /// Room for the times of all deliveries that a session may have unsettled.
    private static let slots = 16_384

    var figures = FleetFigures()
    var isMeasuring = false
    private let window: Int
    private let payload: ByteBuffer
    private let timeOffset: Int?
    private var unsettled: [Int]
    /// Links whose window has room, and whether each is among them.
    private var open: [Int] = []
    private var isOpen: [Bool]
    private var sentAt = [UInt64](repeating: 0, count: TelemetryLinks.slots)
    private var connection: LinkConnection?
    private var isRunning = false

    init(plan: LinkLoadPlan, links: Int) {
        self.window = plan.window
        self.unsettled = Array(repeating: 0, count: links)
        self.isOpen = Array(repeating: false, count: links)
        var message = Message()
        message.body = .data(ByteBuffer(bytes: LoadBody.make(bytes: plan.bodyBytes)))
        self.payload = message.encoded
        self.timeOffset =
            plan.bodyBytes >= LoadBody.bytesMin
            ? self.payload.readableBytes - plan.bodyBytes + LoadBody.head.utf8.count : nil
    }

    func attached(_ connection: LinkConnection) {
        self.connection = connection
        self.figures.ready += connection.links.count
    }

    func start() {
        self.isRunning = true
        for tag in self.unsettled.indices {
            self.opened(tag)
        }
        guard let connection else { return }
        self.maySend(connection)
        connection.flush()
    }

    func pause() {
        self.isRunning = false
        self.isMeasuring = false
    }

    private func opened(_ tag: Int) {
        guard !self.isOpen[tag] else { return }
        self.isOpen[tag] = true
        self.open.append(tag)
    }

    func maySend(_ connection: LinkConnection) {
        guard self.isRunning, connection.isWritable, !self.open.isEmpty else { return }
        let now = NIODeadline.now().uptimeNanoseconds
        let digits = LoadBody.digits(of: now)
        var left: [Int] = []
        for tag in self.open {
            let link = connection.links[tag]
            while self.unsettled[tag] < self.window, connection.engine.canSend(on: link) {
                let id = connection.engine.send(on: link, settled: false) { buffer in
                    let start = buffer.writerIndex
                    buffer.writeImmutableBuffer(self.payload)
                    guard let timeOffset = self.timeOffset else { return }
                    buffer.setInteger(digits.0, at: start + timeOffset)
                    buffer.setInteger(digits.1, at: start + timeOffset + 8)
                }
                self.sentAt[Int(id) & (Self.slots - 1)] = now
                self.unsettled[tag] += 1
                self.figures.sent += 1
            }
            if self.unsettled[tag] < self.window {
                left.append(tag)
            } else {
                self.isOpen[tag] = false
            }
        }
        self.open = left
    }

    func settled(_ id: UInt32, _ state: DeliveryState?, on link: Link) {
        self.unsettled[link.tag] -= 1
        self.opened(link.tag)
        guard case .accepted = state else {
            self.figures.errors += 1
            if case .rejected(let error?) = state, self.figures.firstFailure == nil {
                self.figures.firstFailure = HubClientError(error, lost: "a message")
            }
            return
        }
        self.figures.acknowledged += 1
        guard self.isMeasuring else { return }
        let now = NIODeadline.now().uptimeNanoseconds
        self.figures.latency.add(nanoseconds: now &- self.sentAt[Int(id) & (Self.slots - 1)])
    }

    func ended(_ error: HubClientError) {
        self.connection = nil
        guard self.isRunning else { return }
        self.isRunning = false
        self.figures.lost += 1
        self.figures.firstFailure = self.figures.firstFailure ?? error
    }
}

@available(*, unavailable)
extension TelemetryLinks: Sendable {}
