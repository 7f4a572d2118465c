// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import EventLog
public import HubModel
public import NIOCore

/// The hub's events in an event log on this machine's disk.
public final class EmbeddedEventStore: EventStore {
    /// The log, which whoever opened it closes.
    public let log: EventLog

    /// Puts a log that is open in front of the hub.
    public init(log: EventLog) {
        self.log = log
    }

    /// How many partitions the log was made with.
    public var partitionCount: Int { log.configuration.partitionCount }
    /// When the log was made, in milliseconds since 1970 UTC.
    public var createdTimeMilliseconds: Int64 { log.createdMilliseconds }
    /// Whether the log takes events now.
    public var isWritable: Bool { log.isWritable }

    /// Appends a batch; the future succeeds after all of it is durable.
    public func append(_ batch: EventBatch, on eventLoop: any EventLoop) -> EventLoopFuture<EventPosition> {
        let appended = AppendBatch(
            partition: batch.partition,
            records: batch.records,
            count: batch.count,
            publicCount: batch.publicCount
        )
        let promise = eventLoop.makePromise(of: EventPosition.self)
        log.append(appended, on: eventLoop).whenComplete { result in
            switch result {
            case .success(let place):
                promise.succeed(
                    EventPosition(
                        firstSequenceNumber: place.firstSequence,
                        firstOffset: place.firstOffset,
                        enqueuedTimeMilliseconds: place.enqueuedMilliseconds
                    )
                )
            case .failure(let error):
                promise.fail(Self.hubError(error))
            }
        }
        return promise.futureResult
    }

    /// Reads from memory; nil where the cursor is older than what is there.
    public func readResident(partition: Int, from cursor: EventCursor, bytesMax: Int) -> EventSlice? {
        switch log.readResident(partition, from: cursor.offset, bytesMax: bytesMax) {
        case .slice(let slice): Self.eventSlice(slice)
        case .atEnd: EventSlice(frames: [], next: cursor)
        case .cold: nil
        }
    }

    /// Reads from memory or disk, off the loop.
    public func read(
        partition: Int,
        from cursor: EventCursor,
        bytesMax: Int,
        on eventLoop: any EventLoop
    ) -> EventLoopFuture<EventSlice> {
        log.read(partition, from: cursor.offset, bytesMax: bytesMax, on: eventLoop)
            .map { Self.eventSlice($0) }
            .flatMapErrorThrowing { throw Self.hubError($0) }
    }

    /// Finds where a reader begins; what is asked for is fixed at the moment of the call.
    public func locate(
        partition: Int,
        _ position: StartingPosition,
        on eventLoop: any EventLoop
    ) -> EventLoopFuture<EventCursor> {
        let query: LogQuery =
            switch position {
            case .earliest: .earliest
            case .latest: .latest
            case .sequenceNumber(let number, let inclusive): .sequence(number, inclusive: inclusive)
            case .offset(let offset, let inclusive): .offset(offset, inclusive: inclusive)
            case .enqueuedTime(let time, let inclusive): .enqueuedTime(time, inclusive: inclusive)
            }
        return log.locate(partition, query, on: eventLoop)
            .map { EventCursor(offset: $0) }
            .flatMapErrorThrowing { throw Self.hubError($0) }
    }

    /// Tells what a partition holds; of a partition that does not exist, that it is empty.
    public func info(partition: Int) -> PartitionInfo {
        let info = log.info(partition)
        return PartitionInfo(
            beginSequenceNumber: info?.beginSequence ?? 0,
            lastSequenceNumber: info?.lastSequence ?? -1,
            lastOffset: info?.lastOffset ?? -1,
            lastEnqueuedTimeMilliseconds: info?.lastEnqueuedMilliseconds,
            isEmpty: info?.isEmpty ?? true
        )
    }

    /// Calls `wake` whenever the partition's end has moved.
    public func watch(
        partition: Int,
        on eventLoop: any EventLoop,
        wake: @escaping @Sendable () -> Void
    ) -> any EventWatch {
        Watch(watch: log.watch(partition, on: eventLoop, wake: wake))
    }

    private struct Watch: EventWatch {
        let watch: LogWatch?
        func cancel() { watch?.cancel() }
    }

    private static func eventSlice(_ slice: ReadSlice) -> EventSlice {
        let frames = slice.frames.map { frame in
            EventFrame(
                enqueuedTimeMilliseconds: frame.enqueuedMilliseconds,
                firstSequenceNumber: frame.firstSequence,
                firstOffset: frame.firstOffset,
                records: frame.records
            )
        }
        return EventSlice(frames: frames, next: EventCursor(offset: slice.nextOffset))
    }

    /// The error as the hub knows it.
    static func hubError(_ error: any Error) -> HubError {
        guard let error = error as? EventLogError else {
            return HubError(.internalError, "The event log failed: \(error)")
        }
        let code: HubErrorCode =
            switch error {
            case .overloaded: .throttled
            case .storageFull: .storageFull
            case .partitionDamaged: .storageCorrupt
            case .batchTooLarge: .messageTooLarge
            case .noSuchPartition: .argumentInvalid
            case .malformedBatch: .internalError
            case .writeFailed, .readFailed, .closed: .serviceUnavailable
            case .partitionCountMismatch, .newerFormat, .badMetadata, .badConfiguration: .internalError
            }
        return HubError(code, error.description)
    }
}
