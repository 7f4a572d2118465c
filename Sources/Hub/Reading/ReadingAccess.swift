// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import HubModel

extension ServicePrincipal {
    /// Whether the principal may read what lies at a path of the built-in endpoint, such as
    /// `myhub/ConsumerGroups/$Default/Partitions/0`.
    ///
    /// A token is good for everything below what it names, by whole segments in any letter case: Python's tokens say
    /// `consumergroups` where its links say `ConsumerGroups`. A hub token may name the endpoint `messages/events`.
    public func mayRead(_ path: [String]) -> Bool {
        guard rights.contains(.serviceConnect) else { return false }
        var own = audiencePath.split(separator: "/").map { $0.lowercased() }
        var wanted = path.map { $0.lowercased() }
        if own.starts(with: ["messages", "events"]) {
            own.removeFirst(2)
            wanted.removeFirst(min(1, wanted.count))
        }
        return wanted.starts(with: own)
    }
}

extension HubNames {
    /// Whether a name is that of the event hub entity: the short name of one of the hub's host names.
    public func isEntity(_ name: String) -> Bool {
        let wanted = name.lowercased()
        return hostNames.contains { Self.shortName(of: $0).lowercased() == wanted }
    }
}
