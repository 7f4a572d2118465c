// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel
import Logging
public import NIOCore

/// Carries twin change events from the outbox to the event log, in the order of the changes.
///
/// While nothing asks for such events none are recorded. An event is taken out of the outbox only after the log made it
/// durable: after a crash in between, it is appended again.
public final class TwinEvents: Sendable {
    private static let batchMax = 100
    private static let retryDelay = Duration.seconds(1)

    /// Where the events go; nowhere unless a route asks.
    private let destinations: EventDestinations
    private let twins: any TwinStore
    private let log: any EventStore
    private let hubName: String
    private let logger: Logger
    private let bell: AsyncStream<Void>
    private let ringer: AsyncStream<Void>.Continuation

    init(
        destinations: EventDestinations,
        twins: any TwinStore,
        log: any EventStore,
        hubName: String,
        logger: Logger
    ) {
        self.destinations = destinations
        self.twins = twins
        self.log = log
        self.hubName = hubName
        self.logger = logger
        (self.bell, self.ringer) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// Whether changes are to be recorded.
    var isWanted: Bool { !self.destinations.isEmpty }

    /// Tells that the outbox has a new entry; called on any thread.
    func ring() {
        self.ringer.yield()
    }

    /// Carries what the outbox holds and whatever comes, until the task is cancelled; called once.
    ///
    /// - Parameter eventLoop: where the log answers
    public func run(on eventLoop: any EventLoop) async {
        self.ring()
        for await _ in self.bell { await self.drain(on: eventLoop) }
    }

    private func drain(on eventLoop: any EventLoop) async {
        while !Task.isCancelled {
            do {
                guard try await self.carryBatch(on: eventLoop) else { return }
            } catch {
                self.logger.warning("twin change events wait in the outbox", metadata: ["reason": "\(error)"])
                do { try await Task.sleep(for: Self.retryDelay) } catch { return }
            }
        }
    }

    /// Carries the oldest entries.
    ///
    /// Returns false where there are none.
    func carryBatch(on eventLoop: any EventLoop) async throws -> Bool {
        let events = try await self.twins.events(limit: Self.batchMax)
        guard let last = events.last else { return false }
        if self.isWanted { try await self.append(events, on: eventLoop) }
        try await self.twins.removeEvents(through: last.position)
        return true
    }

    /// Appends the oldest entries and leaves them in the outbox, as a crash does before they are taken out.
    func appendOnly(on eventLoop: any EventLoop) async throws {
        try await self.append(try await self.twins.events(limit: Self.batchMax), on: eventLoop)
    }

    private func append(_ events: [TwinEvent], on eventLoop: any EventLoop) async throws {
        // Events of one device share a partition, and a partition keeps the order of its appends.
        let appends = events.map { self.log.append(self.encoded($0), on: eventLoop) }
        for append in appends { _ = try await append.get() }
    }

    /// The event as readers see it (docs/wire/event-hubs.md).
    private func encoded(_ event: TwinEvent) -> EventBatch {
        let stamp = TelemetryStamp(twinOf: event.id, partitionCount: self.log.partitionCount)
        var batch = TelemetryBatch(
            stamp: stamp,
            messageSizeMax: Int.max,
            allocator: ByteBufferAllocator(),
            capacity: event.body.readableBytes + 512,
            destinations: self.destinations
        )
        batch.begin()
        batch.property("hubName", self.hubName)
        batch.property("deviceId", event.id.device)
        if let module = event.id.module { batch.property("moduleId", module) }
        batch.property("operationTimestamp", UTCTime.text(milliseconds: event.milliseconds))
        batch.property("iothub-message-schema", "twinChangeNotification")
        batch.property("opType", event.isReplacement ? "replaceTwin" : "updateTwin")
        batch.system(.userID, self.hubName)
        // The position is the change's own, so an event that is appended twice can be known by it.
        batch.system(.correlationID, String(event.position, radix: 16))
        batch.system(.contentType, "application/json")
        batch.system(.contentEncoding, "utf-8")
        _ = batch.finish(body: event.body)
        return batch.eventBatch()
    }
}

extension TelemetryBatch {
    fileprivate mutating func property(_ name: String, _ value: String) {
        Array(name.utf8).withUnsafeBytes { name in
            Array(value.utf8).withUnsafeBytes { value in self.applicationProperty(name, value) }
        }
    }

    fileprivate mutating func system(_ property: SystemProperty, _ value: String) {
        Array(value.utf8).withUnsafeBytes { self.systemProperty(property, $0) }
    }
}
