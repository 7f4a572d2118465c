// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// What one listener listens to and how it greets.
public struct ListenerSettings: Sendable {
    /// The name in logs and messages, such as `mqtts`.
    public var name: String
    /// The setting that gives the port, named in messages, such as `--mqtts-port`.
    public var portSetting: String
    /// An address of this machine; `*` is all of them, over IPv6 and IPv4.
    public var address: String
    /// The port; 0 takes a free one.
    public var port: Int
    /// The port to take where the first one is not permitted, or nil to fail.
    public var fallbackPort: Int?
    /// The TLS side, or nil for a plain listener.
    public var identity: TLSIdentity?
    /// Whether TLS clients are asked for a certificate.
    public var requestsClientCertificate = true
    /// Whether the front tells with `ConnectionAuthenticated` when a peer has signed in.
    ///
    /// Where it doesn't, the end of the TLS handshake counts as that.
    public var announcesAuthentication = false
    /// What a connection gets to read when the hub is full, after what it said first; nothing closes it.
    public var refusal: @Sendable (_ first: ByteBuffer) -> [UInt8] = { _ in [] }

    /// A listener without TLS.
    public init(name: String, portSetting: String, address: String, port: Int) {
        self.name = name
        self.portSetting = portSetting
        self.address = address
        self.port = port
    }
}

/// Sent down the pipeline (`triggerUserOutboundEvent`) by a front as soon as its peer has signed in.
public struct ConnectionAuthenticated: Sendable {
    /// The event.
    public init() {}
}
