// swift-tools-version:6.2
// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

// Apart from the main package, so that a plain `swift build` never needs libFuzzer. One executable for each decoder, built with
// swift build -c release -Xswiftc -sanitize=fuzzer,address -Xswiftc -parse-as-library -Xswiftc -use-ld=lld
let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")

/// A fuzzer of one of the targets without sockets and stores.
func fuzzer(_ name: String, of targets: String...) -> Target {
    .executableTarget(
        name: name,
        dependencies: ["FuzzDriver", nioCore] + targets.map { .product(name: $0, package: "roost") }
    )
}

let package = Package(
    name: "roost-fuzz",
    dependencies: [
        .package(name: "roost", path: ".."),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    ],
    targets: [
        .target(name: "FuzzDriver"),
        fuzzer("fuzz-amqp", of: "AMQP"),
        fuzzer("fuzz-amqp-engine", of: "AMQP"),
        fuzzer("fuzz-json", of: "JSON"),
        fuzzer("fuzz-mqtt", of: "MQTT"),
        fuzzer("fuzz-twin", of: "HubModel", "JSON"),
    ]
)
