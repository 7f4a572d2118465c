// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import HubModel
public import NIOCore

/// The authenticated peer of one connection (or of one identity's part of it): what a device or a module can do.
///
/// Lives on its connection's event loop and is used there only.
public final class DeviceSession {
    /// Who it is.
    public let identity: AuthenticatedIdentity
    /// Tells this connection of the identity from later ones.
    public let connectionNumber: UInt64

    private let hub: Hub
    private let eventLoop: any EventLoop
    private let stamp: TelemetryStamp
    private var isClosed = false

    init(hub: Hub, identity: AuthenticatedIdentity, connectionNumber: UInt64, eventLoop: any EventLoop) {
        self.hub = hub
        self.identity = identity
        self.connectionNumber = connectionNumber
        self.eventLoop = eventLoop
        stamp = TelemetryStamp(identity, partitionCount: hub.stores.events.partitionCount)
    }

    /// Begins a batch of messages of this sender; `capacity` is a guess of its bytes.
    public func makeBatch(allocator: ByteBufferAllocator, capacity: Int) -> TelemetryBatch {
        TelemetryBatch(
            stamp: stamp,
            messageSizeMax: hub.limits.telemetryMessageSizeMax,
            allocator: allocator,
            capacity: capacity
        )
    }

    /// Publishes a batch that is not empty; completes on the loop when all of it is durable.
    ///
    /// Fails with a ``HubError``; then none of the batch was stored and none of it may be acknowledged. Batches of one
    /// session complete in the order of their publishing.
    public func publish(_ batch: consuming TelemetryBatch) -> EventLoopFuture<EventPosition> {
        hub.metrics.telemetryBytesIn.add(batch.bodyBytes)
        hub.metrics.telemetryMessagesIn.add(batch.count)
        return hub.stores.events.append(batch.eventBatch(), on: eventLoop)
    }

    /// When the connection must end because its token does, in seconds since 1970 UTC; nil for never.
    public var endsAtSeconds: Int64? {
        identity.expiresAtSeconds.map { $0.addingReportingOverflow(hub.limits.clockSkewSeconds) }.map {
            $0.overflow ? Int64.max : $0.partialValue
        }
    }

    /// Tells the hub that the connection ended; called once, further calls do nothing.
    public func close() {
        guard !isClosed else { return }
        isClosed = true
        hub.directory.remove(identity.id, connectionNumber: connectionNumber)
    }
}

@available(*, unavailable)
extension DeviceSession: Sendable {}
