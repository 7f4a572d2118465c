// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import HubModel

extension StartingPosition {
    /// Reads a selector of the built-in endpoint; nil when it is anything but one (docs/wire/event-hubs.md#positions).
    ///
    ///     filter = "amqp.annotation." name op value
    ///     name   = "x-opt-offset" / "x-opt-sequence-number" / "x-opt-enqueued-time" / "x-opt-enqueuedtimeutc"
    ///     op     = ">" / ">="
    ///     value  = "-1" / "@latest" / digits / "-" digits, in single, double or no quotes; blanks between
    ///
    /// A fixed grammar, never evaluated: what follows it makes the whole text malformed.
    public init?(filter text: String) {
        var rest = Substring(text)
        guard rest.drop("amqp.annotation.") else { return nil }
        let names = ["x-opt-offset", "x-opt-sequence-number", "x-opt-enqueued-time", "x-opt-enqueuedtimeutc"]
        let end = rest.firstIndex { $0 == " " || $0 == ">" } ?? rest.endIndex
        guard let name = names.firstIndex(of: String(rest[..<end])) else { return nil }
        rest = rest[end...]
        rest.dropBlanks()
        guard rest.drop(">") else { return nil }
        let isInclusive = rest.drop("=")
        rest.dropBlanks()
        while rest.last == " " { rest.removeLast() }
        if let quote = rest.first, quote == "'" || quote == "\"" {
            guard rest.count >= 2, rest.last == quote else { return nil }
            rest = rest.dropFirst().dropLast()
        }
        if rest == "@latest" {
            self = .latest
            return
        }
        // Int64 takes a plus sign, the grammar does not.
        guard rest.utf8.first != UInt8(ascii: "+"), let value = Int64(rest) else { return nil }
        switch name {
        case 0: self = value == -1 ? .earliest : .offset(value, inclusive: isInclusive)
        case 1: self = value == -1 ? .earliest : .sequenceNumber(value, inclusive: isInclusive)
        default: self = .enqueuedTime(value, inclusive: isInclusive)
        }
    }

    /// Whether the position lies beyond what was ever given out, as one from another hub would.
    ///
    /// One above the last is where an inclusive reader of an empty partition begins.
    public func isBeyondEnd(of info: PartitionInfo) -> Bool {
        switch self {
        case .earliest, .latest, .enqueuedTime: false
        case .sequenceNumber(let number, _): number > max(info.lastSequenceNumber, 0)
        case .offset(let offset, _): offset > max(info.lastOffset, 0)
        }
    }
}

extension Substring {
    fileprivate mutating func drop(_ prefix: String) -> Bool {
        guard hasPrefix(prefix) else { return false }
        removeFirst(prefix.count)
        return true
    }

    fileprivate mutating func dropBlanks() {
        while first == " " { removeFirst() }
    }
}
