// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// The messages of one connection that wait for their PUBACK, and those that wait for their turn.
///
/// `Waiter` is who is told; this type tells nobody itself.
struct PublishWindow<Waiter> {
    /// How many messages may wait for their PUBACK at once.
    private let size: Int
    private var unacknowledged: [UInt16: Waiter] = [:]
    private var waiting = CircularBuffer<Waiter>()
    private var lastID: UInt16 = 0
    /// Packet ids of packets that are no messages.
    private var reserved: Set<UInt16> = []

    /// An empty window; a size of at least 1 and at most half of all packet ids, so that a free id is always near.
    init(size: Int) {
        precondition((1...32_768).contains(size), "a window of \(size)")
        self.size = size
    }

    /// Whether nothing waits.
    var isEmpty: Bool { self.unacknowledged.isEmpty && self.waiting.isEmpty }

    /// Adds one that waits for its turn.
    mutating func add(_ waiter: Waiter) {
        self.waiting.append(waiter)
    }

    /// The next whose turn it is, with its packet id, or nil when the window is full or nobody waits.
    mutating func next() -> (id: UInt16, waiter: Waiter)? {
        guard self.unacknowledged.count < self.size, let waiter = self.waiting.popFirst() else { return nil }
        let id = self.freeID()
        self.unacknowledged[id] = waiter
        return (id, waiter)
    }

    /// A packet id for a packet that is no message, to be given back by ``release(_:)``.
    mutating func reserve() -> UInt16 {
        let id = self.freeID()
        self.reserved.insert(id)
        return id
    }

    /// Gives a packet id back; false when it was not reserved.
    mutating func release(_ id: UInt16) -> Bool {
        self.reserved.remove(id) != nil
    }

    private mutating func freeID() -> UInt16 {
        repeat {
            self.lastID = self.lastID == .max ? 1 : self.lastID + 1
        } while self.unacknowledged[self.lastID] != nil || self.reserved.contains(self.lastID)
        return self.lastID
    }

    /// Takes the one that a PUBACK names, or nil when there is none: the peer acknowledged what was not sent.
    mutating func acknowledge(_ id: UInt16) -> Waiter? {
        self.unacknowledged.removeValue(forKey: id)
    }

    /// Takes everyone who waits for anything.
    mutating func removeAll() -> [Waiter] {
        let all = Array(self.unacknowledged.values) + Array(self.waiting)
        self.unacknowledged.removeAll()
        self.waiting.removeAll()
        return all
    }
}
