// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Glibc
import NIOSSL

/// Where a hub is and how to trust it.
public struct HubAddress: Hashable, Sendable {
    /// How the server's certificate is judged.
    public enum Trust: Hashable, Sendable {
        /// By the system's certificate authorities.
        case system
        /// By the authorities in this PEM file, and no others.
        case authorities(file: String)
        /// Not at all: the peer may be anyone. For load tests on one machine.
        case anyone
    }

    /// The name of the hub: what tokens, user names and addresses say, and what the certificate must name.
    public var hostName: String
    /// Where TCP connections go; nil means to ``hostName``.
    public var connectHost: String?
    /// The port of the service's HTTPS.
    public var httpsPort = 443
    /// The port of MQTT.
    public var mqttPort = 8883
    /// The port of AMQP.
    public var amqpPort = 5671
    /// Whether the ports speak without TLS.
    public var isPlain = false
    /// How the server's certificate is judged.
    public var trust: Trust = .system

    /// Makes an address with the standard TLS ports.
    ///
    /// - Parameter hostName: the name in the connection string; a `:port` at its end becomes the HTTPS port, as
    ///   service SDKs take it, and is not part of where MQTT and AMQP connect.
    public init(hostName: String) {
        self.hostName = hostName
        guard let colon = hostName.lastIndex(of: ":"), let port = Int(hostName[hostName.index(after: colon)...]),
            (1...65535).contains(port), !hostName[..<colon].contains(":") || hostName[..<colon].hasSuffix("]")
        else { return }
        self.httpsPort = port
        self.connectHost = String(hostName[..<colon])
    }

    /// The standard ports of the listeners without TLS, on the same host.
    public mutating func usePlainPorts() {
        self.isPlain = true
        self.httpsPort = 8080
        self.mqttPort = 1883
        self.amqpPort = 5672
    }

    /// The host without a port, which is what a certificate names.
    public var bareHostName: String {
        guard let colon = self.hostName.lastIndex(of: ":"),
            Int(self.hostName[self.hostName.index(after: colon)...]) != nil
        else { return self.hostName }
        return String(self.hostName[..<colon])
    }

    /// Where TCP connections go.
    public var dialHost: String {
        self.connectHost ?? self.bareHostName
    }

    /// What TLS connections to this hub are made with.
    ///
    /// - Throws: ``HubClientError/unreadableAuthorities(file:reason:)``.
    func tlsConfiguration() throws(HubClientError) -> TLSConfiguration {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.minimumTLSVersion = .tlsv12
        switch self.trust {
        case .system:
            break
        case .anyone:
            configuration.certificateVerification = .none
        case .authorities(let file):
            guard access(file, R_OK) == 0 else {
                throw .unreadableAuthorities(file: file, reason: String(cString: strerror(errno)))
            }
            do {
                configuration.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(file))
            } catch {
                throw .unreadableAuthorities(file: file, reason: "it holds no certificate in PEM form")
            }
        }
        return configuration
    }
}
