// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// The QoS 1 PUBLISHes of the server that wait for their PUBACK.
///
/// Packet ids of the two directions are separate spaces. (MQTT 2.3.1) Holds no memory while nothing is under way.
public struct OutgoingWindow: Sendable {
    private var waiting: [(packetID: UInt16, token: UInt64)] = []
    private var lastID: UInt16 = 0
    private let countMax: Int

    /// A window of a size.
    ///
    /// - Parameter countMax: 1 to 65,535.
    public init(countMax: Int) {
        precondition((1...Int(UInt16.max)).contains(countMax), "a window of \(countMax)")
        self.countMax = countMax
    }

    /// How many wait.
    public var count: Int { waiting.count }

    /// Takes a packet id.
    ///
    /// - Parameter token: what the caller wants back when the PUBACK comes.
    /// - Returns: an id that is not in use [MQTT-2.3.1-2], nil while the window is full.
    public mutating func take(token: UInt64) -> UInt16? {
        guard waiting.count < countMax else { return nil }
        repeat {
            lastID = lastID == .max ? 1 : lastID + 1
        } while waiting.contains { $0.packetID == lastID }
        waiting.append((lastID, token))
        return lastID
    }

    /// Gives a packet id back.
    ///
    /// - Returns: its token, nil for an id that is not in use.
    public mutating func acknowledge(_ packetID: UInt16) -> UInt64? {
        guard let index = waiting.firstIndex(where: { $0.packetID == packetID }) else { return nil }
        return waiting.remove(at: index).token
    }
}
