// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// Every bound of the listeners, each one a setting.
public struct TransportLimits: Sendable {
    /// Connections open at once, over all listeners; the composition lowers it to what the descriptor limit leaves.
    public var connectionsMax = 100_000
    /// Connections that are being told that the hub is full; more than these are closed without a word.
    public var refusalsMax = 256
    /// Connections that have not signed in yet, over all listeners.
    public var unauthenticatedMax = 16_384
    /// Connections from one source (an IPv4 address, an IPv6 /64) that have not signed in yet: a flood of half-open
    /// connections uses up its own share only.
    public var unauthenticatedPerSourceMax = 4_096
    /// From accepting a connection to the end of its TLS handshake.
    public var handshakeTimeout: TimeAmount = .seconds(10)
    /// From the order to stop to the closing of connections that are still busy.
    public var drainTimeout: TimeAmount = .seconds(10)
    /// Connections that the kernel keeps ready for us; it may keep fewer (net.core.somaxconn).
    public var backlog: Int32 = 4_096
    /// The first receive buffer of a connection: small, for an idle one keeps it.
    public var receiveBufferBytesInitial = 1_024
    /// The largest receive buffer that a busy connection grows to.
    public var receiveBufferBytesMax = 65_536
    /// Certificates in the chain that a client presents.
    public var clientChainCertificatesMax = 10
    /// Bytes of the chain that a client presents.
    public var clientChainBytesMax = 65_536
    /// Issuers of clients' certificates whose chains are remembered for when clients resume a TLS session.
    public var rememberedChainsMax = 1_000

    /// The defaults.
    public init() {}
}
