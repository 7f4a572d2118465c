// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Hub
import HubModel
import NIOHTTP1

/// Which tunnels there are, and which one a request asks for (docs/wire/http.md#websockets).
struct WebSocketTunnels: Sendable {
    private static let hubPath = "/$iothub/websocket"
    private static let eventHubsPath = "/$servicebus/websocket"
    private static let eventHubsProtocol = "amqpwsb10"

    private let installers: [String: TunnelInstaller]
    private let names: HubNames

    init(_ installers: [String: TunnelInstaller], names: HubNames) {
        self.installers = Dictionary(uniqueKeysWithValues: installers.map { ($0.key.lowercased(), $0.value) })
        self.names = names
    }

    /// The sub-protocol of a request as the client spells it and what to install for it; nil to refuse.
    func choose(_ head: HTTPRequestHead) -> (name: String, install: TunnelInstaller)? {
        guard self.isOwnOrigin(head.headers.first(name: "Origin")) else { return nil }
        let raw = head.uri.prefix { $0 != "?" }
        guard var path = PercentEncoding.decode(raw)?.lowercased() else { return nil }
        if path.last == "/" { path.removeLast() }
        guard path == Self.hubPath || path == Self.eventHubsPath else { return nil }
        for name in head.headers[canonicalForm: "Sec-WebSocket-Protocol"] {
            let key = name.lowercased()
            guard path == Self.hubPath || key == Self.eventHubsProtocol else { continue }
            if let install = self.installers[key] { return (String(name), install) }
        }
        return nil
    }

    /// Whether a page of a browser, which names where it comes from, comes from this hub.
    ///
    /// There is nothing a foreign page could use here without a token of its own; this is a second wall.
    private func isOwnOrigin(_ origin: String?) -> Bool {
        guard let origin, origin != "null" else { return origin == nil }
        guard let slashes = origin.firstIndex(of: "/") else { return self.names.contains(host: origin) }
        return self.names.contains(host: origin[slashes...].drop { $0 == "/" })
    }
}
