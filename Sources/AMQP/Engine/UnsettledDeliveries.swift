// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// The deliveries of ours on one session that are not settled, by how much the receiver has said of them.
///
/// A receiver may name any range of ids in a few bytes, as often as it likes. So the ids stand in order, one row for each
/// stage: a range is found by bisection, and only deliveries that come to a later stage are walked. Each does so three
/// times at most, and a range that says nothing new costs next to nothing.
struct UnsettledDeliveries {
    /// How much the receiver has said of a delivery.
    enum Stage: Int {
        /// Nothing.
        case sent
        /// How much has arrived.
        case received
        /// The outcome, which it waits to have settled (AMQP 3.4).
        case decided
        /// That it has settled the delivery: it is gone.
        case settled
    }

    private var links: [UInt32: Link] = [:]
    /// The ids of each stage but the last, in the order in which they were sent.
    private var rows: [[UInt32]] = [[], [], []]
    /// The id after the last one that was sent: ids wrap, and are in order by how far they are behind it.
    private var nextID: UInt32 = 0

    var count: Int { links.count }

    /// Takes up a delivery, whose id is the one after that of the one before it.
    mutating func append(_ id: UInt32, link: Link) {
        nextID = id &+ 1
        links[id] = link
        rows[Stage.sent.rawValue].append(id)
    }

    /// Forgets one delivery.
    mutating func remove(_ id: UInt32) {
        guard links.removeValue(forKey: id) != nil else { return }
        for index in rows.indices {
            let place = lowerBound(of: id, in: rows[index])
            guard place < rows[index].count, rows[index][place] == id else { continue }
            rows[index].remove(at: place)
            return
        }
    }

    /// Forgets the deliveries of one link.
    mutating func removeAll(of link: Link) {
        guard links.values.contains(where: { $0 === link }) else { return }
        links = links.filter { $0.value !== link }
        for index in rows.indices { rows[index].removeAll { links[$0] == nil } }
    }

    /// Forgets all deliveries.
    mutating func removeAll() { self = UnsettledDeliveries() }

    /// Brings the deliveries of a range to a stage.
    ///
    /// - Returns: Those that were not there yet, in order.
    mutating func advance(_ first: UInt32, through last: UInt32, to stage: Stage) -> [(id: UInt32, link: Link)] {
        var ids: [UInt32] = []
        for index in 0..<stage.rawValue {
            let range = range(first, through: last, in: rows[index])
            guard !range.isEmpty else { continue }
            let isInOrder = ids.last.map { position($0) < position(rows[index][range.lowerBound]) } ?? true
            ids += rows[index][range]
            rows[index].removeSubrange(range)
            if !isInOrder { sort(&ids) }
        }
        guard let lowest = ids.first, let highest = ids.last else { return [] }
        if stage == .settled {
            return ids.compactMap { id in links.removeValue(forKey: id).map { (id, $0) } }
        }
        let place = lowerBound(of: lowest, in: rows[stage.rawValue])
        if place == lowerBound(of: highest, in: rows[stage.rawValue]) {
            rows[stage.rawValue].insert(contentsOf: ids, at: place)
        } else {
            rows[stage.rawValue] += ids
            sort(&rows[stage.rawValue])
        }
        return ids.compactMap { id in links[id].map { (id, $0) } }
    }

    private func position(_ id: UInt32) -> UInt32 { id &- nextID }

    private func sort(_ ids: inout [UInt32]) {
        let nextID = nextID
        ids.sort { $0 &- nextID < $1 &- nextID }
    }

    /// Where in a row the ids of a range are; a range that goes on behind the last id sent ends with it.
    private func range(_ first: UInt32, through last: UInt32, in row: [UInt32]) -> Range<Int> {
        guard !row.isEmpty else { return 0..<0 }
        let start = lowerBound(of: first, in: row)
        guard position(first) <= position(last), position(last) < .max else { return start..<row.count }
        return start..<lowerBound(of: last &+ 1, in: row)
    }

    private func lowerBound(of id: UInt32, in row: [UInt32]) -> Int {
        let wanted = position(id)
        var (low, high) = (0, row.count)
        while low < high {
            let middle = (low + high) / 2
            if position(row[middle]) < wanted { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
