// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import Hub
import HubModel

// `messages/events`: leads readers that know the hub's own address to the Event Hubs-compatible one
// (docs/wire/amqp.md#redirect).
extension LinkRefusal {
    /// The port that is told whatever the hub listens on: SDKs look for it in the address.
    private static let port: Int32 = 5671
    private static let messageBytesMax: UInt64 = 262_144

    /// The refusal that tells where the events are.
    ///
    /// - Parameters:
    ///   - address: What the peer attached to; what follows `messages/events` in it is kept.
    ///   - names: What the hub is called.
    /// - Returns: The refusal.
    static func redirect(_ address: String, names: HubNames) -> LinkRefusal {
        let (host, entity) = (names.hostName, names.shortName)
        let target = "amqps://\(host):\(port)/\(entity)\(rest(of: address))"
        var refusal = LinkRefusal(
            AMQPError(
                .linkRedirect,
                info: [
                    .symbol("hostname"): .string(host),
                    .symbol("network-host"): .string(host),
                    .symbol("port"): .int(port),
                    .symbol("address"): .string(target),
                ]
            )
        )
        refusal.maxMessageSize = messageBytesMax
        return refusal
    }

    /// What follows `messages/events`, with its slash, also where nothing follows that.
    private static func rest(of address: String) -> String {
        let path = NodeAddress.withoutAuthority(address)
        let parts = path.split(separator: "/", maxSplits: 2, omittingEmptySubsequences: false)
        return parts.count > 2 ? "/\(parts[2])" : ""
    }
}
