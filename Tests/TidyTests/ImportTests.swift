// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Testing

/// The arrows of ARCHITECTURE.md: which target may import what.
///
/// The compiler checks declared dependencies between our
/// targets; this also holds the walls against other packages' modules, which it does not check.
@Suite struct ImportTests {
    /// Modules that any target may use.
    private static let common: Set<String> = [
        "Swift", "Synchronization", "Glibc", "Musl", "Darwin", "FoundationEssentials", "Logging", "Metrics",
        "Collections",
        "DequeModule", "OrderedCollections", "HeapModule", "BasicContainers",
    ]
    private static let loops: Set<String> = ["NIOCore", "NIOConcurrencyHelpers"]
    private static let sockets: Set<String> = [
        "NIOCore", "NIOPosix", "NIOSSL", "NIOTLS", "NIOHTTP1", "NIOWebSocket", "NIOConcurrencyHelpers",
        "NIOFoundationEssentialsCompat",
    ]

    /// What each target of the lower rows and the edges may import besides the common modules.
    private static let allowed: [String: Set<String>] = [
        // Row 0 could be other projects: nothing of the hub, no sockets.
        "JSON": loops,
        "MQTT": loops,
        "AMQP": loops,
        "EventLog": loops.union(["CCRC32C"]),
        // Rows 1 and 3 know no sockets, no SQL, no HTTP.
        "HubModel": loops.union(["JSON"]),
        "Hub": loops.union(["HubModel", "JSON", "AMQP", "Crypto", "CryptoExtras", "X509", "SwiftASN1"]
        ),
        "HubTransport": sockets.union(["Crypto", "CryptoExtras", "X509", "SwiftASN1", "ServiceLifecycle"]),
        // Fronts know neither a store nor each other.
        "MQTTFront": loops.union(["JSON", "MQTT", "Hub", "HubModel", "HubTransport"]),
        "AMQPFront": loops.union(["AMQP", "Hub", "HubModel", "HubTransport"]),
        "HTTPFront": sockets.union([
            "JSON", "Hub", "HubModel", "HubTransport", "HTTPTypes", "NIOHTTPTypes", "NIOHTTPTypesHTTP1", "Hummingbird",
            "HummingbirdCore", "HummingbirdTLS", "ServiceLifecycle",
        ]),
        // Stores know the protocols, not the hub.
        "EmbeddedStore": loops.union(["HubModel", "EventLog", "JSON", "GRDB", "Crypto"]),
        "HubClient": sockets.union(["MQTT", "AMQP", "JSON", "HubModel", "Crypto", "AsyncHTTPClient"]),
    ]

    @Test(arguments: allowed.keys.sorted())
    func `a target imports only what its row allows`(target: String) {
        let allowed = Self.allowed[target, default: []].union(Self.common)
        let wrong = ProjectTree.sources.filter { $0.target == Substring(target) }.flatMap { file in
            Self.imports(of: file).filter { !allowed.contains($0) }.map { "\(file.path) imports \($0)" }
        }
        #expect(wrong.isEmpty)
    }

    @Test func `every target of the sources is in the table or at the top`() {
        let known = Set(Self.allowed.keys).union(["roost", "HubTesting"])
        let targets = Set(ProjectTree.sources.compactMap { $0.target.map(String.init) })
        #expect(targets.subtracting(known).isEmpty)
    }

    @Test func `nothing imports the whole of Foundation`() {
        let wrong = ProjectTree.files.filter { $0.isSwift && Self.imports(of: $0).contains("Foundation") }
        #expect(wrong.map(\.path).isEmpty)
    }

    @Test(arguments: [
        ("public import struct NIOCore.ByteBuffer", "NIOCore"), ("@testable import Hub", "Hub"),
        ("    import Glibc", "Glibc"), ("package import GRDB // why", "GRDB"),
    ])
    func `the form of an import does not hide it`(line: String, module: String) {
        #expect(Self.imports(of: ProjectFile(path: "Sources/X/X.swift", lines: [line[...]])) == [module])
    }

    /// The modules that a file's import lines name.
    private static func imports(of file: ProjectFile) -> [String] {
        let kinds: Set<Substring> = ["struct", "class", "enum", "protocol", "func", "var", "let", "typealias"]
        return file.lines.compactMap { line in
            let words = line.split(separator: " ")
            guard let place = words.firstIndex(of: "import"), place + 1 < words.count else { return nil }
            let before: Set<Substring> = ["public", "package", "internal", "private", "fileprivate"]
            guard words[..<place].allSatisfy({ before.contains($0) || $0.hasPrefix("@") }) else { return nil }
            let named =
                kinds.contains(words[place + 1]) && place + 2 < words.count ? words[place + 2] : words[place + 1]
            return named.split(separator: ".").first.map(String.init)
        }
    }
}
