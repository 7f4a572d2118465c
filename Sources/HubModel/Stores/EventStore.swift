// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// Keeps the events of a hub in partitions, in order, until retention drops them.
///
/// Guarantees: an event is durable before its append succeeds, and before any reader sees it; events of one partition
/// keep the order of their appends; public sequence numbers have no gaps but where a failed write skipped them, and
/// neither they nor offsets are ever used twice; the enqueued time of a partition never goes back.
public protocol EventStore: Sendable {
    /// How many partitions there are; fixed when the store was made.
    var partitionCount: Int { get }
    /// When the store was made, in milliseconds since 1970 UTC.
    var createdTimeMilliseconds: Int64 { get }
    /// Whether appends are accepted now; false while the disk is full or failing.
    var isWritable: Bool { get }

    /// Appends the events of one partition; called on any event loop, for every batch of messages.
    ///
    /// The future completes on `eventLoop`, once for the whole batch, after all of it is durable; batches that became
    /// durable together are completed with one wake of the loop, in the order of their appends. It fails with a
    /// ``HubError``: `.throttled` where more is waiting than the store queues, `.storageFull`, `.storageCorrupt` or
    /// `.serviceUnavailable`; nothing of a batch that failed is ever read.
    func append(_ batch: EventBatch, on eventLoop: any EventLoop) -> EventLoopFuture<EventPosition>

    /// Reads whole frames from memory; nil where the cursor's frame is not held in memory.
    ///
    /// Returns a slice without frames where the cursor is at the end. Takes no more than a short lock; called on loops.
    func readResident(partition: Int, from cursor: EventCursor, bytesMax: Int) -> EventSlice?

    /// Reads whole frames from wherever they are, off the loop, and answers on it.
    ///
    /// A cursor that retention has passed continues at the first event retained.
    func read(
        partition: Int,
        from cursor: EventCursor,
        bytesMax: Int,
        on eventLoop: any EventLoop
    ) -> EventLoopFuture<EventSlice>

    /// Finds where a reader is to begin; the position is fixed at the moment of the call.
    func locate(
        partition: Int,
        _ position: StartingPosition,
        on eventLoop: any EventLoop
    ) -> EventLoopFuture<EventCursor>

    /// Tells what a partition holds; called on any thread.
    func info(partition: Int) -> PartitionInfo

    /// Calls `wake` on the loop whenever the partition's end has moved, until the watch is cancelled.
    ///
    /// A wake is a hint: several moves may be told once, and a reader that finds nothing new just waits on.
    func watch(partition: Int, on eventLoop: any EventLoop, wake: @escaping @Sendable () -> Void) -> any EventWatch
}

/// A standing wish to be told when a partition's end moves.
public protocol EventWatch: Sendable {
    /// Ends the wish; called once, on any thread.
    func cancel()
}
