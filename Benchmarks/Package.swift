// swift-tools-version:6.2
// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

// Benchmarks are a package of their own, so that a plain build of the hub never sees them.
let package = Package(
    name: "roost-benchmarks",
    dependencies: [
        .package(name: "roost", path: ".."),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    ],
    targets: [
        // The event log alone: appends from event loops, group commit, sync.
        .executableTarget(
            name: "log-bench",
            dependencies: [
                .product(name: "EventLog", package: "roost"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ]
        ),
    ]
)
