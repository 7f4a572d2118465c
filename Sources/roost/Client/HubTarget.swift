// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubClient
import HubModel

/// The hub that a command talks to, and what the command may sign in as.
struct HubTarget: Sendable {
    /// Where it is.
    var address: HubAddress
    /// What the command signs in with.
    var connectionString: ConnectionString
    /// What `hub.json` says, when the hub is that of a data directory.
    var file: HubFile?

    /// The hub of a connection string, on the standard ports.
    init(connectionString: ConnectionString, plain: Bool) {
        var address = HubAddress(hostName: connectionString.hostName)
        if plain {
            address.usePlainPorts()
        }
        address.connectHost = connectionString.gatewayHostName ?? address.connectHost
        self.init(address: address, connectionString: connectionString, file: nil)
    }

    /// The hub that serves from a data directory.
    ///
    /// - Throws: ``HubFileError``.
    init(dataDirectory: String, plain: Bool) throws(HubFileError) {
        let file = try HubFile.read(dataDirectory: dataDirectory)
        let string = try file.serviceConnectionString(policy: PolicyName.owner)
        self.init(address: try file.address(plain: plain), connectionString: string, file: file)
    }

    private init(address: HubAddress, connectionString: ConnectionString, file: HubFile?) {
        self.address = address
        self.connectionString = connectionString
        self.file = file
    }

    /// The name of the built-in event hub: what the file or the connection string says, or the first label of the host.
    var eventHubName: String {
        if let file {
            return file.eventHubName
        }
        if case .eventHub(_, let name?) = self.connectionString.peer {
            return name
        }
        return self.address.bareHostName.split(separator: ".").first.map(String.init) ?? self.address.bareHostName
    }

    /// The name of the policy and its key.
    ///
    /// - Throws: ``CommandError/needsPolicy`` when the connection string is a device's.
    func policy() throws(CommandError) -> (name: String, key: String) {
        switch self.connectionString.peer {
        case .service(let policy), .eventHub(let policy, _): (policy, self.connectionString.key)
        case .device, .module: throw .needsPolicy
        }
    }

    /// The connection string of a policy for services: of the data directory's hub, or the one that was given.
    ///
    /// - Parameter name: the policy, where the hub's file tells its key.
    /// - Returns: the connection string.
    /// - Throws: ``CommandError/needsPolicy`` and ``HubFileError``.
    func serviceConnectionString(policy name: String) throws -> ConnectionString {
        let (policy, hostName) = try self.policy(named: name)
        // Service SDKs have no other place for a port that is not 443.
        return .init(peer: .service(policy: policy.name), hostName: hostName ?? self.address.hostName, key: policy.key)
    }

    /// The connection string of a policy for readers of the built-in endpoint, in the same way.
    ///
    /// - Parameter name: the policy, where the hub's file tells its key.
    /// - Returns: the connection string.
    /// - Throws: ``CommandError/needsPolicy`` and ``HubFileError``.
    func eventHubConnectionString(policy name: String) throws -> ConnectionString {
        let policy = try self.policy(named: name).policy
        let peer = ConnectionString.Peer.eventHub(policy: policy.name, name: self.eventHubName)
        return .init(peer: peer, hostName: self.address.bareHostName, key: policy.key)
    }

    /// The policy to print: any of the hub's own, or the only one that is known of another.
    private func policy(named name: String) throws -> (policy: (name: String, key: String), hostName: String?) {
        guard let file else { return (try self.policy(), nil) }
        return ((name, try file.serviceConnectionString(policy: name).key), file.serviceHostName)
    }

    /// What a reader of the built-in endpoint reads when nothing else is said.
    ///
    /// - Throws: ``CommandError/needsPolicy`` when the connection string is a device's.
    func readerPlan() throws(CommandError) -> EventReaderPlan {
        let policy = try self.policy()
        return EventReaderPlan(
            address: self.address,
            eventHubName: self.eventHubName,
            policy: policy.name,
            key: policy.key
        )
    }

    /// Runs `body` with a client of the registry.
    ///
    /// - Parameters:
    ///   - limits: limits of the client.
    ///   - body: what is done with it.
    /// - Returns: what `body` returns.
    /// - Throws: what `body` throws, ``CommandError`` and ``HubClientError``.
    func withService<Result: Sendable>(
        limits: ServiceClient.Limits = .init(),
        _ body: (ServiceClient) async throws -> Result
    ) async throws -> Result {
        let policy = try self.policy()
        return try await ServiceClient.with(
            address: self.address,
            policy: policy.name,
            key: policy.key,
            limits: limits,
            body
        )
    }
}

/// The names of the policies that every hub starts with.
enum PolicyName {
    /// All rights.
    static let owner = "iothubowner"
    /// Reading of events, and the service side of commands.
    static let service = "service"
}
