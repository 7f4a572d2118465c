// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQPFront
import EmbeddedStore
import EventLog
import HTTPFront
import Hub
import HubModel
import HubTransport
import MQTTFront

/// Everything that can be set about a hub, in the vocabulary of Azure's IoT Hub resource where that has a word.
///
/// The defaults are here; names, ranges and explanations are in `Setting.all`, from which the file's keys, the environment's
/// names and docs/configuration.md follow.
struct Configuration: Sendable {
    /// Names by which clients reach the hub; the first one is printed in connection strings.
    var hostNames: [String] = []
    var dataDirectory = "./roost-data"
    var durability = Durability.fsync
    /// 0 is one for each processor.
    var eventLoops = 0
    var events = Events()
    var listeners = Listeners()
    var tls = TLS()
    var transport = TransportLimits()
    var eventLog = EventLogConfiguration(directory: "")
    var stateStore = StateDatabaseLimits()
    var mqtt = MQTTFrontLimits()
    var amqp = AMQPFrontLimits()
    var http = HTTPFrontLimits()
    var limits = Limits()
    var authentication = AuthenticationSettings()
    var log = Log()

    /// When a message counts as stored.
    enum Durability: String, CaseIterable, Sendable {
        case fsync, os
    }

    /// The built-in endpoint (`properties.eventHubEndpoints.events`).
    struct Events: Sendable {
        var partitionCount = 4
        /// Whether the user chose it: then a data directory that has another one is refused.
        var partitionCountIsChosen = false
        var retentionTimeInDays = 1
        /// 0 is no bound.
        var retentionSizeInMegabytes = 0
        /// The groups beside `$Default`.
        var consumerGroups: [String] = []
    }

    /// What listens where.
    struct Listeners: Sendable {
        /// The address of the listeners with TLS; `*` is all.
        var address = "*"
        /// Whether the listeners without TLS are open.
        var plain = false
        /// The address of the listeners without TLS; empty is `address` where that is loopback, else 127.0.0.1.
        var plainAddress = ""
        var mqtts = 8883
        var amqps = 5671
        var https = 443
        var mqtt = 1883
        var amqp = 5672
        var http = 8080
        var metricsAddress = "127.0.0.1"
        var metrics = 9600
        /// Whether the user chose the HTTPS port: then there is no falling back to 8443.
        var httpsIsChosen = false
    }

    /// Certificates and versions.
    struct TLS: Sendable {
        var certificateFile = ""
        var privateKeyFile = ""
        /// What clients are told to trust when the certificate is the user's own.
        var authorityFile = ""
        /// `HOST=CHAIN,KEY` each.
        var additionalCertificates: [String] = []
        var keyAlgorithm = CertificateKeyKind.p256
        var minimumVersion = TLSSettings.Version.v12
        var allowsCBC = false
        var reloadSeconds = 30
        /// Whether clients of the HTTPS port, too, are asked for a certificate.
        var requestsCertificatesOnHTTPS = true
    }

    /// What is logged, and how.
    struct Log: Sendable {
        var format = LogFormat.text
        var level = LogLevel.info
    }
}

/// The form of the log.
enum LogFormat: String, CaseIterable, Sendable {
    case text, json
}

/// The least important messages that are logged.
enum LogLevel: String, CaseIterable, Sendable {
    case trace, debug, info, notice, warning, error, critical
}
