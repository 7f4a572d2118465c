// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import MQTT
public import NIOCore
import NIOPosix

/// A device on MQTT: signs in with its key and publishes telemetry.
public final class DeviceClient: Sendable {
    /// How a message is acknowledged.
    public enum Delivery: Sendable {
        /// Not at all (QoS 0): sending ends when the message is written.
        case unacknowledged
        /// By the hub once it is durable (QoS 1).
        case acknowledged
    }

    /// Limits of one device.
    public struct Limits: Sendable {
        /// How many messages may wait for their PUBACK; more wait for their turn.
        public var window = 64
        /// How long the sign-in may take after TCP is connected.
        public var signIn: Duration = .seconds(30)
        /// How long the making of a connection may take.
        public var connect: Duration = .seconds(10)
        /// Seconds between packets that the device promises; it pings at half of it.
        public var keepAliveSeconds: UInt16 = 60
        /// For how long the token is valid; the hub closes the connection after that.
        public var tokenSeconds: Int64 = 86_400

        /// Makes the default limits.
        public init() {}
    }

    private let channel: any Channel
    private let topic: String

    private init(channel: any Channel, topic: String) {
        self.channel = channel
        self.topic = topic
    }

    /// Connects and signs in.
    ///
    /// - Parameters:
    ///   - signIn: the device and its key.
    ///   - address: where the hub is.
    ///   - limits: limits of the device.
    /// - Returns: a device that may send at once.
    /// - Throws: ``HubClientError``.
    public static func connect(
        _ signIn: DeviceSignIn,
        to address: HubAddress,
        limits: Limits = .init()
    ) async throws -> DeviceClient {
        let packet = try signIn.connectPacket(
            keepAliveSeconds: limits.keepAliveSeconds,
            tokenSeconds: limits.tokenSeconds
        )
        let connector = try ClientChannel(address: address, connectTimeout: limits.connect)
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let signedIn = loop.makePromise(of: Void.self)
        let deviceID = signIn.deviceID
        let channel: any Channel
        do {
            channel = try await connector.connect(on: loop, port: address.mqttPort) { _ in
                DeviceConnection(
                    connectPacket: packet,
                    deviceID: deviceID,
                    address: address,
                    limits: limits,
                    signedIn: signedIn
                )
            }.get()
        } catch {
            let failure = HubClientError.connecting(error, host: address.dialHost, port: address.mqttPort)
            signedIn.fail(failure)
            throw failure
        }
        try await signedIn.futureResult.get()
        return DeviceClient(channel: channel, topic: signIn.telemetryTopic)
    }

    /// Sends one message; may be called from any task, and messages keep the order in which they were given.
    ///
    /// - Parameters:
    ///   - message: the message.
    ///   - delivery: whether to wait for the hub's word that it is durable.
    /// - Throws: ``HubClientError`` when the connection ends before.
    public func send(_ message: DeviceMessage, delivery: Delivery = .acknowledged) async throws {
        try await self.enqueue(message, delivery: delivery).get()
    }

    /// Gives one message to the connection without waiting.
    ///
    /// - Parameters:
    ///   - message: the message.
    ///   - delivery: what the result tells.
    /// - Returns: succeeds when the message is acknowledged, or written.
    public func enqueue(_ message: DeviceMessage, delivery: Delivery = .acknowledged) -> EventLoopFuture<Void> {
        let promise = self.channel.eventLoop.makePromise(of: Void.self)
        let outgoing = DeviceConnection.Outgoing(
            topic: ByteBuffer(string: self.topic + message.propertyBag),
            payload: message.body,
            qos: delivery == .acknowledged ? .atLeastOnce : .atMostOnce,
            acknowledged: promise
        )
        let written = self.channel.eventLoop.makePromise(of: Void.self)
        // A channel that is closed already drops the write: only the write's own result tells.
        written.futureResult.whenFailure { _ in promise.fail(HubClientError.closed(during: "the sending of telemetry"))
        }
        self.channel.write(outgoing, promise: written)
        return promise.futureResult
    }

    /// Signs off and closes the connection; what still waits for its acknowledgement fails.
    public func close() async {
        // A connection that the hub has closed already is closed.
        do { try await self.channel.close() } catch {}
    }
}
