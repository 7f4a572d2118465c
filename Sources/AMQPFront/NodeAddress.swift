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
    /// Where services send commands to.
    case commands
    /// Where services receive what became of commands.
    case feedback
    /// Where services receive what was uploaded.
    case fileNotifications
    /// What a device or a module attaches to.
    case identity(IdentityAddress)
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
        case 2 where lower == ["messages", "devicebound"]: self = .commands
        case 3 where lower == ["messages", "servicebound", "feedback"]: self = .feedback
        case 3 where lower == ["messages", "servicebound", "filenotifications"]: self = .fileNotifications
        case 3 where lower == ["messages", "servicebound", "fileuploadnotifications"]: self = .fileNotifications
        case 3... where lower[0] == "devices":
            self = IdentityAddress(path).map { .identity($0) } ?? .unknown(path)
        case 5 where lower[1] == "consumergroups" && lower[3] == "partitions":
            self = .partition(entity: segments[0], group: segments[2], partition: segments[4])
        case 1: self = .entity(segments[0])
        case 3 where lower[1] == "partitions" || lower[1] == "publishers": self = .entity(segments[0])
        default: self = .unknown(path)
        }
    }

    /// The address without scheme, authority and leading slashes; Python writes the port into the authority.
    static func path(of text: String) -> String {
        var rest = withoutAuthority(text)
        while rest.last == "/" { rest.removeLast() }
        return String(rest)
    }

    /// The address without scheme, authority and leading slashes, up to its end.
    static func withoutAuthority(_ text: String) -> Substring {
        var rest = Substring(text)
        if let slash = rest.firstIndex(of: "/"), rest[..<slash].last == ":", rest[slash...].hasPrefix("//") {
            rest = rest[slash...].dropFirst(2)
            rest = rest.firstIndex(of: "/").map { rest[$0...] } ?? ""
        }
        while rest.first == "/" { rest.removeFirst() }
        return rest
    }
}

/// What a device's or a module's link is for, and the spellings that its address may have meant by the ids.
struct IdentityAddress: Equatable {
    /// What a link is for.
    enum Purpose: String {
        /// Telemetry; for a receiver, the inputs of a module.
        case events = "messages/events"
        /// Commands.
        case commands = "messages/devicebound"
        /// Direct methods.
        case methods = "methods/devicebound"
        /// The twin.
        case twin
    }

    /// Whom the address may name, the most literal reading first: ids come raw or percent-encoded.
    var candidates: [IdentityID]
    /// What the link is for.
    var purpose: Purpose

    /// Reads `devices/{d}[/modules/{m}]/{purpose}`; nil for anything else.
    init?(_ path: String) {
        var segments = path.split(separator: "/", omittingEmptySubsequences: false)
        guard segments.count >= 3, segments[0].lowercased() == "devices" else { return nil }
        let device = segments[1]
        var module: Substring?
        segments.removeFirst(2)
        if segments.count >= 3, segments[0].lowercased() == "modules" {
            module = segments[1]
            segments.removeFirst(2)
        }
        guard let purpose = Purpose(rawValue: segments.joined(separator: "/").lowercased()) else { return nil }
        self.purpose = purpose
        candidates = []
        for reading in Self.readings {
            guard let device = reading(device), IdentityID.isLegal(device) else { continue }
            guard let module else {
                add(IdentityID(device: device))
                continue
            }
            guard let module = reading(module), IdentityID.isLegal(module) else { continue }
            add(IdentityID(device: device, module: module))
        }
        guard !candidates.isEmpty else { return nil }
    }

    private mutating func add(_ id: IdentityID) {
        if !candidates.contains(id) { candidates.append(id) }
    }

    private static let readings: [@Sendable (Substring) -> String?] = [
        { String($0) },
        { PercentEncoding.decode($0) },
    ]
}
