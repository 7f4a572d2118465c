// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore
import Synchronization

/// What a front's connection offers the hub; called on the connection's event loop only.
public protocol DeviceConnection: AnyObject {
    /// Renders a delivery for the peer.
    func deliver(_ delivery: Delivery)
}

/// The hub's handle on one identity's connection, good on any thread.
public final class DeviceLink: Sendable {
    /// The loop that the connection lives on.
    public let eventLoop: any EventLoop
    /// When the peer last did something, in milliseconds since 1970 UTC.
    let lastActivityMilliseconds = Atomic<Int64>(0)
    private let connection: NIOLoopBound<any DeviceConnection>

    /// Makes the handle of a connection; called on its loop.
    public init(_ connection: any DeviceConnection, eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
        self.connection = NIOLoopBound(connection, eventLoop: eventLoop)
    }

    /// Hands a delivery to the connection, soon and in order; called on any thread.
    public func deliver(_ delivery: Delivery) {
        eventLoop.execute { self.connection.value.deliver(delivery) }
    }
}
