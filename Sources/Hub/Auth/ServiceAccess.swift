// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import HubModel

extension ServicePrincipal {
    /// Whether the principal may use what the hub offers to services at a path, such as `messages/devicebound`.
    ///
    /// A token is good for everything below what it names, by whole segments in any letter case.
    public func mayServe(_ path: [String]) -> Bool {
        guard rights.contains(.serviceConnect) else { return false }
        return path.map { $0.lowercased() }.starts(with: audiencePath.split(separator: "/").map { $0.lowercased() })
    }
}
