// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import Hub
import HubModel
import NIOCore

/// One reader of one partition: sends events as credit, session window and socket allow.
///
/// | state | waits for | next |
/// | --- | --- | --- |
/// | locating | the store to find the starting position | reading, closed |
/// | reading | nothing: there may be more | reading, loading, atEnd, closed |
/// | loading | a cold read | reading, closed |
/// | atEnd | the partition's end to move | reading, closed |
/// | closed | | |
///
/// At most one slice of events is held. A reader without credit holds what it has and asks for nothing.
final class PartitionNode: LinkNode {
    private enum State {
        case locating, reading, loading, atEnd, closed
    }

    let link: Link
    unowned let connection: AMQPConnection
    let engine: ConnectionEngine
    /// The path that access is asked for.
    private let path: [String]
    private let store: any EventStore
    private let place: ReaderRegistry.Place
    private var state = State.locating
    private var ticket: ReaderRegistry.Ticket?
    private var watch: (any EventWatch)?
    private let progress = ReaderProgress()
    private var wantsMetrics = false
    private var isTurnTaken = false
    private var wasWoken = false

    private var walk = EventWalk(at: EventCursor(offset: 0))

    init(
        link: Link,
        connection: AMQPConnection,
        entity: String,
        group: String,
        partition: String
    ) throws(LinkRefusal) {
        self.link = link
        self.connection = connection
        engine = connection.engine
        path = [entity, "ConsumerGroups", group, "Partitions", partition]
        let hub = connection.hub
        store = hub.stores.events
        guard connection.access.mayRead(path) else { throw LinkRefusal(.listenClaimMissing) }
        guard hub.names.isEntity(entity), let group = hub.consumerGroups.canonical(group),
            let number = Int(partition), String(number) == partition,
            (0..<hub.stores.events.partitionCount).contains(number)
        else { throw LinkRefusal(connection.unknown(path.joined(separator: "/"))) }
        place = ReaderRegistry.Place(group: group, partition: number)
    }

    var isAllowed: Bool { connection.access.mayRead(path) }

    // MARK: Life

    /// Takes the reader's place and begins to look for its position; the link is accepted when that is found.
    ///
    /// - Returns: What to refuse the link with; nil when all is well so far.
    func open() -> AMQPError? {
        let request: ReaderRequest
        do throws(ReaderRequest.Refusal) {
            request = try ReaderRequest(link.remoteAttach)
        } catch {
            return error.error
        }
        if request.position.isBeyondEnd(of: store.info(partition: place.partition)) {
            return AMQPError(.argumentError, "The position of the filter lies beyond the end of the partition.")
        }
        wantsMetrics = request.wantsMetrics
        let loop = connection.eventLoop
        let bound = NIOLoopBound(self, eventLoop: loop)
        do throws(ReaderConflict) {
            ticket = try connection.hub.readers.enter(
                place,
                epoch: request.epoch,
                name: request.name,
                progress: progress
            ) { conflict in
                // At once on our own loop, so that the old link's detach precedes the new link's attach.
                if loop.inEventLoop {
                    bound.value.displaced(conflict)
                } else {
                    loop.execute { bound.value.displaced(conflict) }
                }
            }
        } catch {
            return AMQPError(error)
        }
        store.locate(partition: place.partition, request.position, on: loop).assumeIsolated().whenComplete { result in
            self.located(result, request)
        }
        return nil
    }

    private func located(_ result: Result<EventCursor, any Error>, _ request: ReaderRequest) {
        guard state == .locating else { return }
        switch result {
        case .failure(let error):
            let known = error as? HubError ?? HubError(.internalError, "The position could not be looked up.")
            connection.detach(self, AMQPError(known))
        case .success(let cursor):
            walk = EventWalk(at: cursor)
            state = .reading
            accept(request)
            startWatch()
            pump()
        }
        connection.handler.flushUnlessReading()
    }

    private func accept(_ request: ReaderRequest) {
        var reply = engine.reply(to: link)
        // Always settled, whatever was asked for: pyamqp never sends dispositions for events.
        reply.senderSettleMode = .settled
        reply.source?.filter = request.filter
        engine.accept(link, with: reply)
    }

    private func startWatch() {
        let bound = NIOLoopBound(self, eventLoop: connection.eventLoop)
        watch = store.watch(partition: place.partition, on: connection.eventLoop) { bound.value.woken() }
    }

    private func displaced(_ conflict: ReaderConflict) {
        guard state != .closed else { return }
        connection.detach(self, AMQPError(conflict))
        connection.handler.flushUnlessReading()
    }

    /// Frees the reader's place and what it holds; may be called again.
    func close() {
        guard state != .closed else { return }
        state = .closed
        watch?.cancel()
        watch = nil
        if let ticket { connection.hub.readers.leave(ticket) }
        ticket = nil
        walk.finish()
    }

    // MARK: Sending

    private func woken() {
        wasWoken = true
        guard state == .atEnd else { return }
        state = .reading
        pump()
        connection.handler.flushUnlessReading()
    }

    /// What one reader has done in its turn.
    private struct Turn {
        var left: Int
        var bytes = 0
        var lastSequenceNumber: Int64?
        var metrics: ByteBuffer?
    }

    /// Sends events until something runs out: credit, window, socket, events, or this reader's turn.
    func pump() {
        guard !isTurnTaken, state != .closed else { return }
        let limits = connection.limits
        var turn = Turn(left: limits.eventsPerTurnMax)
        while state == .reading, engine.canSend(on: link), connection.handler.isWritable {
            guard turn.left > 0 else {
                takeNextTurn()
                break
            }
            if wantsMetrics, turn.metrics == nil {
                let info = store.info(partition: place.partition)
                turn.metrics = EventMessage.metrics(info, nowMilliseconds: connection.hub.clock.milliseconds)
            }
            let isWalkedThrough = sendRun(&turn, flushBytes: limits.flushBytes)
            if engine.output.readableBytes >= limits.flushBytes { connection.handler.flush() }
            if isWalkedThrough { fetch() }
        }
        if state == .atEnd {
            // Also for a reader that began at the end and was sent nothing.
            progress.reached(store.info(partition: place.partition).lastSequenceNumber)
        } else if let lastSequenceNumber = turn.lastSequenceNumber {
            progress.reached(lastSequenceNumber)
        }
        if turn.left < limits.eventsPerTurnMax {
            connection.hub.metrics.eventsOut.add(limits.eventsPerTurnMax - turn.left)
            connection.hub.metrics.eventBytesOut.add(turn.bytes)
        }
        if link.isDraining, state == .atEnd || link.credit == 0 { engine.drained(link) }
    }

    /// Sends events of the slice at hand, on copies of what changes with each of them.
    ///
    /// - Returns: Whether the slice is used up.
    private func sendRun(_ turn: inout Turn, flushBytes: Int) -> Bool {
        var walk = self.walk
        var run = engine.beginRun(on: link)
        var large: EventMessage?
        var isWalkedThrough = false
        while turn.left > 0, large == nil, run.canSend, run.byteCount < flushBytes {
            guard let entry = walk.next(), let frame = walk.frame else {
                isWalkedThrough = true
                break
            }
            guard
                let record = EventRecord(in: frame.records, payloadAt: entry.payloadStart, count: entry.payloadCount)
            else {
                // A record of another format cannot be shown; the log has checked that it is what was written.
                connection.hub.metrics.refused("amqp record format")
                continue
            }
            turn.left -= 1
            turn.lastSequenceNumber = entry.sequenceNumber
            let message = EventMessage(record, entry, of: frame, metrics: turn.metrics)
            turn.bytes += message.byteCount
            if run.fits(payloadBytes: message.byteCount) {
                run.send(payloadBytes: message.byteCount) { message.write(to: $0) }
            } else {
                large = message
            }
        }
        engine.endRun(run, on: link)
        self.walk = walk
        if let large { send(large) }
        return isWalkedThrough
    }

    /// Sends a message that needs more frames than one.
    private func send(_ message: EventMessage) {
        engine.send(on: link, settled: true) { buffer in
            buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: message.byteCount) { room in
                guard let start = room.baseAddress else { return 0 }
                return message.write(to: start) - start
            }
        }
    }

    private func takeNextTurn() {
        isTurnTaken = true
        connection.handler.later { [weak self] in
            guard let self else { return }
            isTurnTaken = false
            guard state != .closed else { return }
            pump()
            connection.handler.flushUnlessReading()
        }
    }

    // MARK: Reading

    /// Takes the next slice from memory, or begins to load it.
    private func fetch() {
        walk.finish()
        let bytesMax = connection.limits.readBytesMax
        if let slice = store.readResident(partition: place.partition, from: walk.cursor, bytesMax: bytesMax) {
            take(slice)
            return
        }
        state = .loading
        wasWoken = false
        store.read(partition: place.partition, from: walk.cursor, bytesMax: bytesMax, on: connection.eventLoop)
            .assumeIsolated().whenComplete { result in self.loaded(result) }
    }

    private func take(_ slice: EventSlice) {
        walk.begin(slice)
        state = slice.frames.isEmpty ? .atEnd : .reading
    }

    private func loaded(_ result: Result<EventSlice, any Error>) {
        guard state == .loading else { return }
        switch result {
        case .success(let slice):
            let isProgress = slice.next > walk.cursor
            take(slice)
            // The end may have moved while the read was under way, and its wake have found nobody at the end.
            if state == .atEnd, wasWoken || isProgress { state = .reading }
            pump()
        case .failure(let error):
            let known = error as? HubError ?? HubError(.internalError, "The events could not be read.")
            connection.detach(self, AMQPError(known))
        }
        connection.handler.flushUnlessReading()
    }
}

@available(*, unavailable)
extension PartitionNode: Sendable {}
