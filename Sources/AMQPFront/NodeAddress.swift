// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel

/// What a link's address names (docs/wire/event-hubs.md#names).
enum NodeAddress: Equatable {
    /// Where tokens are put.
    case claims
    /// Where properties are asked for; the entity may be left to the request.
    case management(entity: String?)
    /// One partition of one consumer group.
    case partition(entity: String, group: String, partition: String)
    /// An entity, as a producer names it.
    case entity(String)
    /// The built-in endpoint by the hub's own address, which leads elsewhere.
    case hubEvents
    /// What devices and services of the hub attach to.
    case hubNode
    /// Anything else, without scheme and authority.
    case unknown(String)

    /// Reads an address: `scheme://authority/path`, `/path` or `path`, in any letter case.
    init(_ text: String) {
        let path = Self.path(of: text)
        let segments = path.split(separator: "/").map { PercentEncoding.decode($0) ?? String($0) }
        let lower = segments.map { $0.lowercased() }
        switch lower.count {
        case 1 where lower[0] == "$cbs": self = .claims
        case 1 where lower[0] == "$management": self = .management(entity: nil)
        case 2 where lower[1] == "$management": self = .management(entity: segments[0])
        case 2... where lower[0] == "messages" && lower[1] == "events": self = .hubEvents
        case 2... where lower[0] == "devices" || lower[0] == "messages": self = .hubNode
        case 5 where lower[1] == "consumergroups" && lower[3] == "partitions":
            self = .partition(entity: segments[0], group: segments[2], partition: segments[4])
        case 1: self = .entity(segments[0])
        case 3 where lower[1] == "partitions" || lower[1] == "publishers": self = .entity(segments[0])
        default: self = .unknown(path)
        }
    }

    /// The address without scheme, authority and leading slashes; Python writes the port into the authority.
    static func path(of text: String) -> String {
        var rest = Substring(text)
        if let slash = rest.firstIndex(of: "/"), rest[..<slash].last == ":", rest[slash...].hasPrefix("//") {
            rest = rest[slash...].dropFirst(2)
            rest = rest.firstIndex(of: "/").map { rest[$0...] } ?? ""
        }
        while rest.first == "/" { rest.removeFirst() }
        while rest.last == "/" { rest.removeLast() }
        return String(rest)
    }
}
