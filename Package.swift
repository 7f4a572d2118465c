// swift-tools-version:6.2
// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .enableUpcomingFeature("InferIsolatedConformances"),
    .enableUpcomingFeature("ImmutableWeakCaptures"),
    .treatAllWarnings(as: .error),
]

let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioEmbedded = Target.Dependency.product(name: "NIOEmbedded", package: "swift-nio")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let nioWebSocket = Target.Dependency.product(name: "NIOWebSocket", package: "swift-nio")
let nioTLS = Target.Dependency.product(name: "NIOTLS", package: "swift-nio")
let nioFoundationEssentials = Target.Dependency.product(name: "NIOFoundationEssentialsCompat", package: "swift-nio")
let nioSSL = Target.Dependency.product(name: "NIOSSL", package: "swift-nio-ssl")
let nioHTTPTypes = Target.Dependency.product(name: "NIOHTTPTypesHTTP1", package: "swift-nio-extras")
let httpTypes = Target.Dependency.product(name: "HTTPTypes", package: "swift-http-types")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let collections = Target.Dependency.product(name: "Collections", package: "swift-collections")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let cryptoExtras = Target.Dependency.product(name: "CryptoExtras", package: "swift-crypto")
let x509 = Target.Dependency.product(name: "X509", package: "swift-certificates")
let asn1 = Target.Dependency.product(name: "SwiftASN1", package: "swift-asn1")
let serviceLifecycle = Target.Dependency.product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let unixSignals = Target.Dependency.product(name: "UnixSignals", package: "swift-service-lifecycle")
let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let asyncHTTPClient = Target.Dependency.product(name: "AsyncHTTPClient", package: "async-http-client")
let hummingbird = Target.Dependency.product(name: "Hummingbird", package: "hummingbird")
let hummingbirdCore = Target.Dependency.product(name: "HummingbirdCore", package: "hummingbird")
let hummingbirdTLS = Target.Dependency.product(name: "HummingbirdTLS", package: "hummingbird")
let grdb = Target.Dependency.product(name: "GRDB", package: "GRDB.swift")
let yams = Target.Dependency.product(name: "Yams", package: "Yams")

/// A library target of the project, built with the settings every target shares.
func library(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: settings)
}

/// A test target of the project, built with the settings every target shares.
func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: dependencies, swiftSettings: settings)
}

let package = Package(
    name: "roost",
    products: [
        .executable(name: "roost", targets: ["roost"]),
        // Targets without sockets and stores, for the fuzzers and benchmarks beside this package.
        .library(name: "AMQP", targets: ["AMQP"]),
        .library(name: "EventLog", targets: ["EventLog"]),
        .library(name: "HubModel", targets: ["HubModel"]),
        .library(name: "JSON", targets: ["JSON"]),
        .library(name: "MQTT", targets: ["MQTT"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-asn1", from: "1.7.4"),
        .package(url: "https://github.com/apple/swift-certificates", from: "1.21.1"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: []),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        // Row 0: hub-free. Could be other projects.
        // JSON values over byte slices: number text and member order kept.
        library("JSON", [nioCore]),
        // MQTT 3.1.1 packets to bytes and back, and the rules of one connection.
        library("MQTT", [nioCore]),
        // AMQP 1.0 types, frames, performatives, SASL, and the connection/session/link engine.
        library("AMQP", [nioCore]),
        // Append-only partitioned log on journal files: frames in, positions out.
        library("EventLog", ["CCRC32C", nioCore, logging]),
        // CRC-32C with the processor's own instruction, which Swift can't reach without C.
        .target(name: "CCRC32C"),

        // Row 1: what the hub talks about, and the store protocols.
        library("HubModel", ["JSON", nioCore]),

        // Row 3: what the hub does; and what carries bytes to it.
        library("Hub", ["HubModel", "JSON", "AMQP", nioCore, crypto, cryptoExtras, logging, x509, asn1]),
        library(
            "HubTransport",
            [
                nioCore, nioPosix, nioSSL, nioTLS, nioHTTP1, nioWebSocket, crypto, cryptoExtras, x509, asn1, logging,
                serviceLifecycle,
            ]
        ),

        // Row 4: the edges.
        library("MQTTFront", ["JSON", "MQTT", "Hub", "HubModel", "HubTransport", nioCore, logging]),
        library("AMQPFront", ["AMQP", "Hub", "HubModel", "HubTransport", nioCore, logging]),
        library(
            "HTTPFront",
            [
                "JSON", "Hub", "HubModel", "HubTransport", nioCore, nioPosix, nioSSL, nioHTTP1, nioWebSocket,
                nioHTTPTypes,
                httpTypes, hummingbird, hummingbirdCore, hummingbirdTLS, logging, serviceLifecycle,
            ]
        ),
        library(
            "HubClient",
            [
                "MQTT", "AMQP", "JSON", "HubModel", nioCore, nioPosix, nioHTTP1, nioSSL, nioTLS, crypto,
                asyncHTTPClient,
            ]
        ),
        library("EmbeddedStore", ["HubModel", "EventLog", "JSON", nioCore, crypto, grdb, logging]),

        // Row 5: the program.
        .executableTarget(
            name: "roost",
            dependencies: [
                "JSON", "MQTT", "AMQP", "EventLog", "HubModel", "Hub", "HubTransport", "MQTTFront", "AMQPFront",
                "HTTPFront",
                "HubClient",
                "EmbeddedStore", nioCore, nioPosix, nioHTTP1, nioSSL, crypto, x509, asn1, argumentParser, logging,
                serviceLifecycle, unixSignals, yams,
            ],
            swiftSettings: settings
        ),

        // What tests share: manual clock, fake disk, in-process hub, raw-packet clients.
        library(
            "HubTesting",
            ["MQTT", "AMQP", "EventLog", "HubModel", "Hub", "EmbeddedStore", nioCore, nioEmbedded, crypto, logging]
        ),

        tests("JSONTests", ["JSON", nioCore]),
        tests("MQTTTests", ["MQTT", nioCore]),
        tests("AMQPTests", ["AMQP", nioCore]),
        tests("HubModelTests", ["HubModel", "JSON", nioCore]),
        tests(
            "HubTests",
            [
                "Hub", "HubModel", "JSON", "AMQP", "HubTesting", "EmbeddedStore", nioCore, nioEmbedded, nioPosix,
                crypto, cryptoExtras,
                logging, x509, asn1,
            ]
        ),
        tests("EventLogTests", ["EventLog", "CCRC32C", "HubTesting", nioCore, nioPosix, nioEmbedded, logging]),
        tests("StoreConformanceTests", ["EmbeddedStore", "HubModel", "JSON", "HubTesting", nioCore, nioPosix, grdb]),
        tests(
            "MQTTFrontTests",
            ["MQTTFront", "MQTT", "JSON", "Hub", "HubModel", "EmbeddedStore", "HubTesting", nioCore, nioEmbedded]
        ),
        tests(
            "AMQPFrontTests",
            [
                "AMQPFront", "AMQP", "Hub", "HubModel", "EmbeddedStore", "HubTesting", nioCore, nioEmbedded, nioPosix,
                crypto, logging,
            ]
        ),
        tests(
            "HTTPFrontTests",
            [
                "HTTPFront", "JSON", "Hub", "HubModel", "EmbeddedStore", "HubTesting", nioCore, nioPosix, nioEmbedded,
                nioHTTP1, nioHTTPTypes, nioWebSocket, httpTypes,
                asyncHTTPClient, crypto, logging,
            ]
        ),
        tests(
            "ServerTests",
            [
                "roost", "EventLog", "MQTT", "AMQP", "JSON", "Hub", "HubModel", "HubClient", "HubTesting",
                "HubTransport", nioCore,
                nioPosix,
                nioHTTP1, nioSSL, argumentParser, asyncHTTPClient, x509, asn1, logging, nioEmbedded,
            ]
        ),
        tests("TidyTests", []),
    ]
)
