// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// The bounds of the HTTPS port.
public struct HTTPFrontLimits: Sendable, Hashable {
    /// The largest header block of a request, in bytes.
    public var headerBytesMax = 32 * 1024
    /// How many headers a request may have.
    public var headersMax = 256
    /// The largest body that describes one device, in bytes.
    public var documentBytesMax = 256 * 1024
    /// The largest body of a bulk call, in bytes: each item may carry a twin.
    public var bulkBytesMax = 8 * 1024 * 1024
    /// How long a connection may take to its first whole header block, and a later one from the first body byte on.
    public var headerTimeout: TimeAmount = .seconds(15)
    /// How slowly a body may come, in bytes per second, counted from when the header timeout is over.
    public var bodyBytesPerSecondMin = 1024
    /// How long a connection may wait for its next request.
    public var idleTimeout: TimeAmount = .seconds(60)
    /// The largest WebSocket frame that is taken, in bytes.
    public var webSocketFrameBytesMax = 2 * 1024 * 1024
    /// How many bytes may come through a WebSocket before its peer has signed in; beyond it the connection is closed.
    public var webSocketBytesBeforeSignInMax = 256 * 1024

    /// The defaults.
    public init() {}
}
