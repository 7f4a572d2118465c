// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubTransport
import NIOCore

extension Setting {
    /// Every setting, in the order of the documentation.
    static let all: [Setting] =
        hub + eventHub + listeners + tls + authentication + connections + limits
        + twinsAndMethods + commands + protocols + eventLog + stateStore + log

    /// The setting of a key, or nil.
    static func named(_ path: String) -> Setting? { all.first { $0.path == path } }

    private static let hub: [Setting] = [
        .texts(
            "hostName",
            \.hostNames,
            "host names (letters, digits, hyphens, dots) or IP addresses",
            flag: "--host-name",
            """
            Names by which clients reach the hub: they go into the server certificate, and the first one into connection \
            strings; its first label names the event hub. Without any, connection strings say localhost, which the C and Java \
            SDKs do not accept: they want a dot.
            """
        ) { SubjectNames.isHostName($0.lowercased()) || SubjectNames.addressBytes($0) != nil },
        .text(
            "dataDirectory",
            \.dataDirectory,
            "a path",
            flag: "--data",
            "Everything that the hub keeps. One process at a time uses it. The environment's name is ROOST_DATA, too."
        ) { !$0.isEmpty },
        .choice(
            "durability",
            \.durability,
            flag: "--durability",
            """
            When a message is acknowledged. fsync: when it is on the disk. os: when the operating system has it; a crash of \
            the machine or a power cut then loses acknowledged messages.
            """
        ),
        .number(
            "eventLoops",
            \.eventLoops,
            0...256,
            flag: "--event-loops",
            "Threads that serve connections; 0 is one for each processor."
        ),
    ]

    private static let eventHub: [Setting] = [
        Setting.number(
            "eventHubEndpoints.events.partitionCount",
            \.events.partitionCount,
            1...128,
            flag: "--partitions",
            """
            Partitions of the built-in endpoint. Fixed when the data directory is made; left out, what the directory has is \
            taken, and another number is refused.
            """
        ).marking { $0.events.partitionCountIsChosen = true },
        .number(
            "eventHubEndpoints.events.retentionTimeInDays",
            \.events.retentionTimeInDays,
            1...36_500,
            flag: "--retention-days",
            "How long events are kept."
        ),
        .number(
            "eventHubEndpoints.events.retentionSizeInMegabytes",
            \.events.retentionSizeInMegabytes,
            0...1_000_000_000,
            flag: "--retention-megabytes",
            "How much is kept at most, over all partitions; 0 is no bound but the disk."
        ),
        .texts(
            "eventHubEndpoints.events.consumerGroups",
            \.events.consumerGroups,
            "names of 1 to 50 letters, digits, dots, hyphens and underscores",
            flag: "--consumer-group",
            "Consumer groups of the built-in endpoint beside $Default, which is always there."
        ) { name in
            (1...50).contains(name.utf8.count)
                && name.utf8.allSatisfy {
                    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_".utf8.contains($0)
                }
        },
    ]

    private static let listeners: [Setting] = [
        .text(
            "listeners.address",
            \.listeners.address,
            "an address of this machine, or * for all",
            flag: "--listen-address",
            "Where the listeners with TLS listen."
        ) { isAddress($0) },
        .number("listeners.mqtts.port", \.listeners.mqtts, ports, flag: "--mqtts-port", "MQTT over TLS. " + zero),
        .number("listeners.amqps.port", \.listeners.amqps, ports, flag: "--amqps-port", "AMQP over TLS. " + zero),
        Setting.number(
            "listeners.https.port",
            \.listeners.https,
            ports,
            flag: "--https-port",
            "HTTPS and WebSockets. Where 443 is not permitted and no port was chosen, 8443. " + zero
        ).marking { $0.listeners.httpsIsChosen = true },
        .boolean(
            "listeners.plain",
            \.listeners.plain,
            flag: "--plain",
            "Whether the listeners without TLS are open too: for a balancer that does TLS, for tests and measurements."
        ),
        .text(
            "listeners.plainAddress",
            \.listeners.plainAddress,
            "an address of this machine, or * for all",
            "Where the listeners without TLS listen. Empty: where the others do if that is loopback, else 127.0.0.1."
        ) { $0.isEmpty || isAddress($0) },
        .number("listeners.mqtt.port", \.listeners.mqtt, ports, flag: "--mqtt-port", "MQTT without TLS. " + zero),
        .number("listeners.amqp.port", \.listeners.amqp, ports, flag: "--amqp-port", "AMQP without TLS. " + zero),
        .number("listeners.http.port", \.listeners.http, ports, flag: "--http-port", "HTTP without TLS. " + zero),
        .text(
            "listeners.metrics.address",
            \.listeners.metricsAddress,
            "an address of this machine, or * for all",
            "Where /metrics, /healthz and /readyz are."
        ) { isAddress($0) },
        .number(
            "listeners.metrics.port",
            \.listeners.metrics,
            ports,
            flag: "--metrics-port",
            "Port of /metrics, /healthz and /readyz. " + zero
        ),
    ]

    private static let tls: [Setting] = [
        .choice(
            "minTlsVersion",
            \.tls.minimumVersion,
            "The oldest version of TLS. The Python device SDK speaks 1.2 only."
        ),
        .text(
            "tls.certificateFile",
            \.tls.certificateFile,
            "a path",
            flag: "--certificate-file",
            "The server's certificate, then intermediate ones, as PEM. Empty: one is made, signed by the local CA."
        ),
        .text(
            "tls.privateKeyFile",
            \.tls.privateKeyFile,
            "a path",
            flag: "--private-key-file",
            "The private key of that certificate, as PEM, readable by its owner only."
        ),
        .text(
            "tls.authorityFile",
            \.tls.authorityFile,
            "a path",
            flag: "--authority-file",
            "The CA that signed that certificate, as PEM, if clients do not know it anyway: its path is printed at start."
        ),
        .texts(
            "tls.additionalCertificates",
            \.tls.additionalCertificates,
            "a list of HOST=CHAINFILE,KEYFILE",
            "Certificates for clients that ask for certain host names (SNI)."
        ) { AdditionalCertificate($0) != nil },
        .choice(
            "tls.keyAlgorithm",
            \.tls.keyAlgorithm,
            "Keys of certificates that are made: rsa2048 is for firmware that does not know elliptic curves."
        ),
        .boolean("tls.allowCBC", \.tls.allowsCBC, "Whether TLS 1.2 may use CBC ciphers, for very old clients."),
        .number(
            "tls.reloadSeconds",
            \.tls.reloadSeconds,
            1...86_400,
            "How often certificate files are looked at for changes. New connections use the new ones; nothing is dropped."
        ),
        .boolean(
            "listeners.https.requestCertificates",
            \.tls.requestsCertificatesOnHTTPS,
            "Whether clients of the HTTPS port are asked for a certificate, as devices with certificates on WebSockets need. A browser may then ask its user for one."
        ),
    ]

    private static let connections: [Setting] = [
        .number(
            "limits.connections",
            \.transport.connectionsMax,
            1...10_000_000,
            flag: "--connections-max",
            "Connections at once. What the limit of file descriptors allows comes first."
        ),
        .number(
            "limits.unauthenticatedConnections",
            \.transport.unauthenticatedMax,
            1...10_000_000,
            "Connections that have not signed in."
        ),
        .number(
            "limits.unauthenticatedConnectionsPerSource",
            \.transport.unauthenticatedPerSourceMax,
            1...10_000_000,
            "Connections from one IPv4 address or IPv6 /64 that have not signed in."
        ),
        .number(
            "limits.handshakeSeconds",
            \.transport.handshakeSeconds,
            1...600,
            "From accepting a connection to the end of its TLS handshake."
        ),
        .number(
            "limits.drainSeconds",
            \.transport.drainSeconds,
            0...600,
            "How long a stopping hub waits for connections to end by themselves."
        ),
        .number(
            "limits.refusals",
            \.transport.refusalsMax,
            0...100_000,
            "Connections that are being told that the hub is full; more than these are closed without a word."
        ),
        .number("limits.backlog", \.transport.backlogCount, 1...65_535, "Connections that the kernel keeps for us."),
        .number(
            "limits.receiveBufferBytes",
            \.transport.receiveBufferBytesMax,
            1_024...16_777_216,
            "The largest receive buffer of a busy connection."
        ),
    ]

    private static let log: [Setting] = [
        .choice(
            "log.format",
            \.log.format,
            flag: "--log-format",
            "text for people, json for machines: one object a line."
        ),
        .choice("log.level", \.log.level, flag: "--log-level", "The least important messages that are logged."),
    ]

    private static let ports = 0...65_535
    private static let zero = "0 takes a free port."

    private static func isAddress(_ text: String) -> Bool {
        text == "*" || SubjectNames.addressBytes(text) != nil || SubjectNames.isHostName(text.lowercased())
    }

    /// The same setting, that also leaves a mark when it is written.
    private func marking(_ mark: @escaping @Sendable (inout Configuration) -> Void) -> Setting {
        Setting(path: path, flag: flag, expected: expected, isList: isList, help: help, read: read) {
            configuration,
            values in
            guard write(&configuration, values) else { return false }
            mark(&configuration)
            return true
        }
    }
}

extension TransportLimits {
    /// `handshakeTimeout` in whole seconds.
    fileprivate var handshakeSeconds: Int {
        get { Int(handshakeTimeout.nanoseconds / 1_000_000_000) }
        set { handshakeTimeout = .seconds(Int64(newValue)) }
    }

    /// `drainTimeout` in whole seconds.
    fileprivate var drainSeconds: Int {
        get { Int(drainTimeout.nanoseconds / 1_000_000_000) }
        set { drainTimeout = .seconds(Int64(newValue)) }
    }

    /// `backlog` as a plain number.
    fileprivate var backlogCount: Int {
        get { Int(backlog) }
        set { backlog = Int32(clamping: newValue) }
    }
}
