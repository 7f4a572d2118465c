// swift-tools-version:6.2
import PackageDescription

// Apart from the main package, so that a plain `swift build` never needs libFuzzer. One executable for each decoder, built with
// swift build -c release -Xswiftc -sanitize=fuzzer,address -Xswiftc -parse-as-library -Xswiftc -use-ld=lld
let package = Package(
    name: "roost-fuzz",
    dependencies: [
        .package(name: "roost", path: ".."),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    ],
    targets: [
        .executableTarget(
            name: "fuzz-mqtt",
            dependencies: [
                .product(name: "MQTT", package: "roost"),
                .product(name: "NIOCore", package: "swift-nio"),
            ]
        )
    ]
)
