// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Glibc
import HubClient
import HubModel
import HubTransport

/// What a serving hub leaves in its data directory for the commands that talk to it: `hub.json`, readable by the owner only.
///
/// It is written anew at each start, after the listeners are open. The keys in it are those of the store.
struct HubFile: Codable, Hashable, Sendable {
    /// Its name in the data directory.
    static let name = "hub.json"

    /// The host name that connection strings give.
    var hostName: String
    /// The address that a process on this machine connects to: where the hub listens, or nil for 127.0.0.1.
    var connectHost: String?
    /// The name of the built-in event hub.
    var eventHubName: String
    /// The process that serves, or served last.
    var processID: Int32
    /// The absolute path of the authority that made the server's certificate, or nil when it is one the system knows.
    var authorityFile: String?
    /// The ports that are open.
    var ports: Ports
    /// The address at which those without TLS are found from this machine.
    var plainAddress: String? = nil
    /// The address at which metrics and health are found from this machine.
    var metricsAddress: String? = nil
    /// The version of the program that serves, or served last.
    var version: String? = nil
    /// The shared access policies.
    var policies: [Policy]

    /// Ports by protocol; nil where nothing listens.
    struct Ports: Codable, Hashable, Sendable {
        /// HTTPS.
        var https: Int?
        /// MQTT over TLS.
        var mqtts: Int?
        /// AMQP over TLS.
        var amqps: Int?
        /// HTTP on loopback.
        var http: Int?
        /// MQTT without TLS on loopback.
        var mqtt: Int?
        /// AMQP without TLS on loopback.
        var amqp: Int?
        /// Metrics and health.
        var metrics: Int?
    }

    /// A shared access policy and its keys.
    struct Policy: Codable, Hashable, Sendable {
        /// The name.
        var name: String
        /// The first key as base64 text.
        var primaryKey: String
        /// The second key as base64 text.
        var secondaryKey: String
    }

    /// Reads the file of a data directory.
    ///
    /// - Throws: ``HubFileError``.
    static func read(dataDirectory: String) throws(HubFileError) -> HubFile {
        let path = "\(dataDirectory)/\(Self.name)"
        let bytes: [UInt8]
        do throws(FileError) {
            bytes = try SecretFile.read(path)
        } catch {
            guard error.errno != ENOENT else { throw .absent(path: path) }
            throw .denied(path: path, reason: String(cString: strerror(error.errno)))
        }
        do {
            return try JSONDecoder().decode(HubFile.self, from: Data(bytes))
        } catch {
            throw .unreadable(path: path)
        }
    }

    /// The file's text.
    func encoded() throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return try encoder.encode(self)
    }

    /// The connection string of a policy for services.
    ///
    /// - Throws: ``HubFileError/noPolicy(_:known:)``.
    func serviceConnectionString(policy name: String) throws(HubFileError) -> ConnectionString {
        let policy = try self.policy(name)
        return .init(peer: .service(policy: policy.name), hostName: self.serviceHostName, key: policy.primaryKey)
    }

    /// The host name for service SDKs, which have no other place for a port that is not 443.
    var serviceHostName: String {
        guard let port = self.ports.https, port != 443 else { return self.hostName }
        return "\(self.hostName):\(port)"
    }

    /// The connection string of a policy for readers of the built-in endpoint.
    ///
    /// - Throws: ``HubFileError/noPolicy(_:known:)``.
    func eventHubConnectionString(policy name: String) throws(HubFileError) -> ConnectionString {
        let policy = try self.policy(name)
        let peer = ConnectionString.Peer.eventHub(policy: policy.name, name: self.eventHubName)
        return .init(peer: peer, hostName: self.hostName, key: policy.primaryKey)
    }

    /// Where a process on this machine finds the hub.
    ///
    /// - Parameter plain: whether to use the listeners without TLS.
    /// - Returns: an address on loopback, for the data directory is on this machine.
    /// - Throws: ``HubFileError/noPlainListeners`` when there are none.
    func address(plain: Bool) throws(HubFileError) -> HubAddress {
        var address = HubAddress(hostName: self.hostName)
        address.connectHost = (plain ? self.plainAddress : self.connectHost) ?? "127.0.0.1"
        address.isPlain = plain
        if plain {
            let ports = self.ports
            guard ports.http != nil || ports.mqtt != nil || ports.amqp != nil else { throw .noPlainListeners }
            address.usePlainPorts()
            address.httpsPort = ports.http ?? address.httpsPort
            address.mqttPort = ports.mqtt ?? address.mqttPort
            address.amqpPort = ports.amqp ?? address.amqpPort
            return address
        }
        address.httpsPort = self.ports.https ?? address.httpsPort
        address.mqttPort = self.ports.mqtts ?? address.mqttPort
        address.amqpPort = self.ports.amqps ?? address.amqpPort
        if let file = self.authorityFile {
            address.trust = .authorities(file: file)
        }
        return address
    }

    private func policy(_ name: String) throws(HubFileError) -> Policy {
        guard let policy = self.policies.first(where: { $0.name == name }) else {
            throw .noPolicy(name, known: self.policies.map(\.name))
        }
        return policy
    }
}

/// Why a data directory does not tell how to reach its hub; says what to do.
enum HubFileError: Error, Hashable, CustomStringConvertible {
    /// There is no file.
    case absent(path: String)
    /// The system does not let this user read it.
    case denied(path: String, reason: String)
    /// There is one that is not in the form this version writes.
    case unreadable(path: String)
    /// There is no such policy.
    case noPolicy(String, known: [String])
    /// The hub serves TLS only.
    case noPlainListeners

    var description: String {
        switch self {
        case .absent(let path):
            "there is no \(path). Start the hub with 'roost serve', give its directory with --data, "
                + "or set ROOST_CONNECTION_STRING."
        case .denied(let path, let reason):
            "cannot read \(path): \(reason). It holds keys: run this as the user of the hub, or set "
                + "ROOST_CONNECTION_STRING."
        case .unreadable(let path):
            "\(path) cannot be read as this version writes it. Start the hub again: that writes it anew."
        case .noPolicy(let name, let known):
            "the hub has no policy '\(name)'. It has: \(known.joined(separator: ", "))."
        case .noPlainListeners:
            "the hub listens with TLS only. Start it with 'roost serve --plain', or leave --plain out here."
        }
    }
}
