// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import Hub
public import NIOCore

/// Serves devices and modules over MQTT 3.1.1.
///
/// One of these stands behind all MQTT listeners, and behind the WebSocket tunnel of subprotocol `mqtt`.
public final class MQTTFront: Sendable {
    let hub: Hub
    let limits: MQTTFrontLimits
    let peerCertificates: @Sendable (any Channel) -> [[UInt8]]

    /// Puts a front before a hub.
    ///
    /// `peerCertificates` finds what a channel's client presented in its TLS handshake, in DER form, its own first; it is
    /// called once a CONNECT without a password.
    public init(
        hub: Hub,
        limits: MQTTFrontLimits = MQTTFrontLimits(),
        peerCertificates: @escaping @Sendable (any Channel) -> [[UInt8]] = { _ in [] }
    ) {
        self.hub = hub
        self.limits = limits
        self.peerCertificates = peerCertificates
    }

    /// Puts the front's one handler at the end of a new channel's pipeline; called on the channel's loop.
    public func configure(_ channel: any Channel) -> EventLoopFuture<Void> {
        channel.eventLoop.makeCompletedFuture {
            try channel.pipeline.syncOperations.addHandler(MQTTHandler(front: self))
        }
    }
}
