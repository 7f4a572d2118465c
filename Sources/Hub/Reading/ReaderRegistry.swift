// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Who reads which partition for which consumer group, and who must give way to whom.
///
/// Per group and partition there are either some readers without epoch or one with. A reader that leaves is forgotten at
/// once, and its epoch with it. Safe on any thread; nothing is called while the lock is held.
public final class ReaderRegistry: Sendable {
    /// What is read.
    public struct Place: Hashable, Sendable {
        /// The consumer group's configured name.
        public var group: String
        /// The partition, from 0.
        public var partition: Int

        /// A partition of a group.
        public init(group: String, partition: Int) {
            self.group = group
            self.partition = partition
        }
    }

    /// A reader's place in the registry.
    public struct Ticket: Hashable, Sendable {
        let place: Place
        let number: UInt64
    }

    private struct Reader: Sendable {
        var number: UInt64
        var epoch: Int64?
        var name: String?
        var progress: ReaderProgress
        var displaced: @Sendable (ReaderConflict) -> Void
    }

    private struct State: Sendable {
        var lastNumber: UInt64 = 0
        var readers: [Place: [Reader]] = [:]
    }

    private let state = Mutex(State())
    private let readersPerPartitionMax: Int

    /// An empty registry.
    public init(readersPerPartitionMax: Int) {
        self.readersPerPartitionMax = readersPerPartitionMax
    }

    /// Lets a reader in; those that must give way are told before this returns.
    ///
    /// - Parameters:
    ///   - place: What it wants to read.
    ///   - epoch: Its epoch; nil for none.
    ///   - name: What it calls itself, for the texts of conflicts.
    ///   - progress: Where it tells how far it has come.
    ///   - displaced: Called on any thread, at most once, when another reader takes its place.
    /// - Returns: What to give back by ``leave(_:)``.
    /// - Throws: The conflict that keeps it out.
    public func enter(
        _ place: Place,
        epoch: Int64?,
        name: String?,
        progress: ReaderProgress = ReaderProgress(),
        displaced: @escaping @Sendable (ReaderConflict) -> Void
    ) throws(ReaderConflict) -> Ticket {
        let outcome: Result<(Ticket, [Reader]), ReaderConflict> = state.withLock { state in
            let present = state.readers[place] ?? []
            if let conflict = conflict(present, epoch: epoch, name: name) { return .failure(conflict) }
            state.lastNumber += 1
            let reader = Reader(
                number: state.lastNumber,
                epoch: epoch,
                name: name,
                progress: progress,
                displaced: displaced
            )
            state.readers[place] = epoch == nil ? present + [reader] : [reader]
            return .success((Ticket(place: place, number: reader.number), epoch == nil ? [] : present))
        }
        let (ticket, leaving) = try outcome.get()
        for old in leaving {
            old.displaced(.displaced(old.name, epoch: old.epoch ?? 0, by: name, epoch: epoch ?? 0))
        }
        return ticket
    }

    private func conflict(_ present: [Reader], epoch: Int64?, name: String?) -> ReaderConflict? {
        guard let first = present.first else { return nil }
        switch (epoch, first.epoch) {
        case (let epoch?, let current?):
            return epoch < current ? .lowerEpoch(name, epoch: epoch, than: first.name, epoch: current) : nil
        case (.some, nil): return nil
        case (nil, let current?): return .epochNeeded(current)
        case (nil, nil):
            guard present.count >= readersPerPartitionMax else { return nil }
            return .tooMany(present.map(\.name), max: readersPerPartitionMax)
        }
    }

    /// Forgets a reader; one that was displaced may be given back as well.
    public func leave(_ ticket: Ticket) {
        state.withLock { state in
            guard var present = state.readers[ticket.place] else { return }
            present.removeAll { $0.number == ticket.number }
            state.readers[ticket.place] = present.isEmpty ? nil : present
        }
    }

    /// The last event that the reader which is furthest behind was sent, for each place that is read.
    public var slowest: [Place: Int64] {
        state.withLock { state in
            state.readers.compactMapValues { readers in readers.map(\.progress.lastSequenceNumber).min() }
        }
    }

    /// How many readers there are.
    public var count: Int { state.withLock { $0.readers.values.reduce(0) { $0 + $1.count } } }
}
