// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import HubModel
public import NIOCore
import Synchronization

/// The authenticated peer of one connection (or of one identity's part of it): what a device or a module can do.
///
/// Lives on its connection's event loop and is used there only.
public final class DeviceSession {
    /// Who it is.
    public private(set) var identity: AuthenticatedIdentity
    /// Tells this connection of the identity from later ones.
    public let connectionNumber: UInt64

    let hub: Hub
    let eventLoop: any EventLoop
    private let link: DeviceLink
    private var stamp: TelemetryStamp
    private(set) var isClosed = false
    /// Whether the connection may have commands locked.
    var mayHoldCommands = false
    private var twinRequestsOpen = 0
    private var lastReport: EventLoopFuture<Int64>?

    init(hub: Hub, identity: AuthenticatedIdentity, connectionNumber: UInt64, link: DeviceLink) {
        self.hub = hub
        self.identity = identity
        self.connectionNumber = connectionNumber
        self.link = link
        self.eventLoop = link.eventLoop
        stamp = TelemetryStamp(identity, partitionCount: hub.stores.events.partitionCount)
    }

    /// Rests on a newer proof of the same identity from now on.
    ///
    /// Returns false where the identity has another connection by now, or something was revoked since `ticket` was taken.
    public func renew(_ newer: AuthenticatedIdentity, ticket: Directory.SignInTicket) -> Bool {
        precondition(newer.id == identity.id, "a session is renewed as another identity")
        var newer = newer
        newer.modelID = newer.modelID ?? identity.modelID
        guard hub.directory.renew(newer, connectionNumber: connectionNumber, ticket: ticket) else { return false }
        become(newer)
        return true
    }

    /// Notes the plug-and-play model that the peer announced after it had signed in.
    public func announce(modelID: String) {
        guard identity.modelID != modelID else { return }
        hub.directory.setModelID(modelID, of: identity.id, connectionNumber: connectionNumber)
        var changed = identity
        changed.modelID = modelID
        become(changed)
    }

    private func become(_ changed: AuthenticatedIdentity) {
        identity = changed
        stamp = TelemetryStamp(changed, partitionCount: hub.stores.events.partitionCount)
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
        noteActivity()
        hub.metrics.telemetryBytesIn.add(batch.bodyBytes)
        hub.metrics.telemetryMessagesIn.add(batch.count)
        return hub.stores.events.append(batch.eventBatch(), on: eventLoop)
    }

    /// Notes whether the peer wants such deliveries; at first it wants none.
    public func wants(_ interest: Directory.Interests, _ wants: Bool) {
        hub.directory.setInterest(interest, wants, of: identity.id, connectionNumber: connectionNumber)
        if wants, interest.contains(.methods) { hub.methods.becameAvailable(identity.id) }
    }

    /// Answers a call of a method that was delivered; false where nobody waits for the answer (any more).
    @discardableResult
    public func respond(to number: UInt64, _ result: MethodResult) -> Bool {
        noteActivity()
        return hub.methods.answered(number, connectionNumber: connectionNumber, result)
    }

    /// Answers a call of a method by its UUID; false where nobody waits for the answer (any more).
    @discardableResult
    public func respond(toUUID uuid: some Sequence<UInt8>, _ result: MethodResult) -> Bool {
        guard let id = hub.methods.callID(uuid: uuid) else { return false }
        return respond(to: id.number, result)
    }

    /// Whether somebody still waits for the answer of a call.
    public func isOpen(_ call: MethodCall) -> Bool { hub.methods.isOpen(call.id.number) }

    /// Reads the identity's twin, as it is after the session's earlier reports; completes on the loop.
    ///
    /// Fails with a ``HubError``: `.throttled` where too many requests are open, `.deviceNotFound`, `.moduleNotFound`.
    public func twin() -> EventLoopFuture<ByteBuffer> {
        guard beginTwinRequest() else { return eventLoop.makeFailedFuture(Self.tooManyRequests) }
        let twins = hub.twins
        let identity = identity
        let eventLoop = eventLoop
        let earlier = lastReport ?? eventLoop.makeSucceededFuture(0)
        let read = earlier.flatMapError { _ in eventLoop.makeSucceededFuture(0) }.flatMap { _ in
            eventLoop.makeFutureWithTask { try await twins.deviceDocument(of: identity) }
        }
        return endingTwinRequest(read)
    }

    /// Merges a patch into the identity's reported properties; completes on the loop, with their version, when it is
    /// durable.
    ///
    /// Reports of one session take effect and complete in their order, but that refusals may come sooner. Fails with a
    /// ``HubError``: `.throttled` where too many requests are open, `.formatError`, `.argumentInvalid`,
    /// `.preconditionFailed` where the properties have another version than `ifVersion`, `.deviceNotFound`,
    /// `.moduleNotFound`.
    public func report(_ patch: ByteBuffer, ifVersion: Int64? = nil) -> EventLoopFuture<Int64> {
        guard beginTwinRequest() else { return eventLoop.makeFailedFuture(Self.tooManyRequests) }
        let promise = eventLoop.makePromise(of: Int64.self)
        hub.twins.report(patch, ifVersion: ifVersion, of: identity) { outcome in
            promise.completeWith(outcome.mapError { $0 })
        }
        lastReport = promise.futureResult
        return endingTwinRequest(promise.futureResult)
    }

    /// Whether requests about the twin are under way, whose answers the peer waits for.
    public var hasOpenTwinRequests: Bool { twinRequestsOpen > 0 }

    private static let tooManyRequests = HubError(.throttled, "Too many requests of one connection wait for its twin.")

    private func beginTwinRequest() -> Bool {
        noteActivity()
        guard twinRequestsOpen < hub.limits.twinRequestsPerConnectionMax else { return false }
        twinRequestsOpen += 1
        return true
    }

    private func endingTwinRequest<Value>(_ future: EventLoopFuture<Value>) -> EventLoopFuture<Value> {
        future.assumeIsolated().always { _ in self.twinRequestsOpen -= 1 }.nonisolated()
    }

    /// Notes that the peer did something; called once for a batch.
    func noteActivity() {
        link.lastActivityMilliseconds.store(hub.clock.milliseconds, ordering: .relaxed)
    }

    /// When the connection must end because its token does, in seconds since 1970 UTC; nil for never.
    public var endsAtSeconds: Int64? {
        identity.expiresAtSeconds.map { $0.addingReportingOverflow(hub.limits.clockSkewSeconds) }.map {
            $0.overflow ? Int64.max : $0.partialValue
        }
    }

    /// Tells the hub that the connection ended; called once, further calls do nothing.
    ///
    /// Commands that the peer did not settle come again; `isStopping` says that it is the hub that ends the connection,
    /// so that this is no failure of the peer's.
    public func close(isStopping: Bool = false) {
        guard !isClosed else { return }
        isClosed = true
        hub.directory.remove(identity.id, connectionNumber: connectionNumber)
        hub.methods.connectionEnded(connectionNumber)
        guard mayHoldCommands else { return }
        hub.commands.giveBack(
            isStopping ? .released : .lost,
            connectionNumber: connectionNumber,
            of: identity.id.device
        )
    }
}

@available(*, unavailable)
extension DeviceSession: Sendable {}
