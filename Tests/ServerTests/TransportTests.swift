// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Glibc
import NIOCore
import NIOPosix
import NIOSSL
import Testing
import X509

@testable import HubTransport

struct TransportTests {
    @Test func `security 044 handshakes of TLS 1.0 and 1.1 fail, 1.2 and 1.3 succeed`() async throws {
        let hub = try await EchoListener()
        for version in [TLSVersion.tlsv1, .tlsv11] {
            await #expect(throws: (any Error).self, "\(version)") {
                try await hub.exchange {
                    $0.minimumTLSVersion = .tlsv1
                    $0.maximumTLSVersion = version
                }
            }
        }
        for version in [TLSVersion.tlsv12, .tlsv13] {
            let connection = try await hub.exchange {
                $0.minimumTLSVersion = version
                $0.maximumTLSVersion = version
            }
            #expect(connection.answer.version == version)
        }
        await hub.stop()
    }

    @Test func `security 045 a client certificate is optional and any one is let in`() async throws {
        let hub = try await EchoListener()
        #expect(try await hub.exchange().answer.text == "hello")
        let root = try LocalAuthority.makeRoot(kind: .p256, now: Date())
        let stranger = try LocalAuthority(certificatePEM: root.certificatePEM, privateKeyPEM: root.privateKeyPEM)
            .issue(for: SubjectNames(configured: ["device-1"]), kind: .p256, now: Date())
        let chain = try NIOSSLCertificate.fromPEMBytes(Array(stranger.certificatePEM.utf8))
        let key = try NIOSSLPrivateKey(bytes: Array(stranger.privateKeyPEM.utf8), format: .pem)
        let connection = try await hub.exchange {
            $0.certificateChain = chain.map { .certificate($0) }
            $0.privateKey = .privateKey(key)
        }
        #expect(connection.answer.text == "hello")
        await hub.stop()
    }

    @Test func `security 046 the name asked for selects the certificate and no name gets the default one`() async throws
    {
        let other = try TemporaryDirectory()
        let named = LocalCertificates(
            directory: other.path,
            names: SubjectNames(configured: ["other.test"], machine: nil)
        )
        try named.ensure(now: .init(), logger: EchoListener.logger)
        let own = try TemporaryDirectory()
        let first = LocalCertificates(directory: own.path, names: SubjectNames(configured: ["hub.test"], machine: nil))
        try first.ensure(now: .init(), logger: EchoListener.logger)
        var settings = TLSSettings(certificate: first.serverFiles)
        settings.certificatesByHost["other.test"] = named.serverFiles
        let identity = try TLSIdentity(settings)
        let hub = try await EchoListener { $0.identity = identity }

        for (asked, expected) in [("other.test", "other.test"), ("hub.test", "hub.test"), (nil, "hub.test")] {
            let connection = try await hub.exchange(serverName: asked) { $0.certificateVerification = .none }
            let leaf = try #require(connection.answer.certificate)
            #expect(try SubjectNames(of: leaf).hostNames.first == expected)
        }
        await hub.stop()
        other.remove()
        own.remove()
    }

    @Test func `a new certificate is used by new connections while old ones live on`() async throws {
        let hub = try await EchoListener()
        let old = try await hub.exchange()
        let renewed = LocalCertificates(
            directory: hub.certificates.directory,
            names: SubjectNames(configured: ["hub.test", "new.test"])
        )
        let keeper = CertificateKeeper(
            identity: hub.identity,
            local: renewed,
            interval: .seconds(60),
            logger: EchoListener.logger
        )
        keeper.check(now: .init())
        let new = try await hub.exchange()
        #expect(new.answer.certificate != old.answer.certificate)
        #expect(try SubjectNames(of: #require(new.answer.certificate)).hostNames.contains("new.test"))
        #expect(old.channel.isActive)
        await hub.stop()
    }

    @Test func `a leaf that ends soon is replaced and one that does not is kept`() throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let certificates = LocalCertificates(directory: directory.path, names: SubjectNames(configured: ["a.test"]))
        #expect(try certificates.ensure(now: .init(), logger: EchoListener.logger))
        #expect(try !certificates.ensure(now: .init(), logger: EchoListener.logger))
        let nearTheEnd = Double(LocalAuthority.leafDays - 20) * 86_400
        #expect(try certificates.ensure(now: .init(timeIntervalSinceNow: nearTheEnd), logger: EchoListener.logger))
    }

    @Test func `a certificate with an RSA key serves too`() async throws {
        let directory = try TemporaryDirectory()
        let certificates = LocalCertificates(
            directory: directory.path,
            names: SubjectNames(configured: ["hub.test"]),
            kind: .rsa2048
        )
        try certificates.ensure(now: .init(), logger: EchoListener.logger)
        let identity = try TLSIdentity(TLSSettings(certificate: certificates.serverFiles))
        let hub = try await EchoListener { $0.identity = identity }
        let connection = try await hub.exchange { $0.trustRoots = .file(certificates.authorityFile) }
        #expect(connection.answer.text == "hello")
        await hub.stop()
        directory.remove()
    }

    @Test func `security 061 a private key that others can read is refused and written keys are private`() throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let certificates = LocalCertificates(directory: directory.path, names: SubjectNames(configured: []))
        try certificates.ensure(now: .init(), logger: EchoListener.logger)
        #expect(directory.mode(of: "server.key") == 0o600)
        #expect(directory.mode(of: "ca.key") == 0o600)
        for file in ["server.key", "ca.key"] {
            chmod(directory.path + "/" + file, 0o644)
            #expect(throws: ExposedSecret.self, "\(file)") {
                try certificates.ensure(now: .init(), logger: EchoListener.logger)
            }
            chmod(directory.path + "/" + file, 0o600)
        }
        chmod(directory.path + "/server.key", 0o640)
        #expect(throws: ExposedSecret.self) { try TLSIdentity(TLSSettings(certificate: certificates.serverFiles)) }
    }

    @Test func `security 054 half-open TLS connections of one source do not keep another source out`() async throws {
        var limits = TransportLimits()
        limits.unauthenticatedPerSourceMax = 50
        // They stay for as long as the test takes, however slow the machine is.
        limits.handshakeTimeout = .minutes(10)
        let hub = try await EchoListener(limits: limits)
        var flood: [any Channel] = []
        for _ in 0..<200 {
            let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connect(host: "127.0.0.1", port: hub.port).get()
            flood.append(channel)
        }
        #expect(try await eventually { hub.gate.counts.refused[.unauthenticatedFromSource] == 150 })
        #expect(hub.gate.counts.unauthenticated == 50)
        await #expect(throws: (any Error).self) { try await hub.exchange() }
        #expect(try await hub.exchange(from: "127.0.0.2").answer.text == "hello")
        for channel in flood { channel.close(promise: nil) }
        #expect(try await eventually { hub.gate.counts.unauthenticated == 0 })
        #expect(try await hub.exchange().answer.text == "hello")
        await hub.stop()
    }

    @Test func `a handshake that does not end in time is closed`() async throws {
        var limits = TransportLimits()
        limits.handshakeTimeout = .milliseconds(50)
        let hub = try await EchoListener(limits: limits)
        let silent = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: "127.0.0.1", port: hub.port).get()
        try await silent.closeFuture.get()
        #expect(try await eventually { hub.gate.counts.open == 0 && hub.gate.counts.unauthenticated == 0 })
        await hub.stop()
    }

    @Test func `a connection counts as unauthenticated until the front says otherwise`() async throws {
        let hub = try await EchoListener { $0.announcesAuthentication = true }
        let stranger = try await hub.exchange("hello")
        #expect(hub.gate.counts.unauthenticated == 1)
        let member = try await hub.exchange("auth")
        #expect(hub.gate.counts.unauthenticated == 1)
        try await stranger.channel.close()
        #expect(try await eventually { hub.gate.counts.unauthenticated == 0 && hub.gate.counts.open == 1 })
        try await member.channel.close()
        #expect(try await eventually { hub.gate.counts.open == 0 })
        await hub.stop()
    }

    @Test func `a full hub says so in the protocol`() async throws {
        var limits = TransportLimits()
        limits.connectionsMax = 1
        let hub = try await EchoListener(limits: limits) { $0.refusal = { Array("full, \(String(buffer: $0))".utf8) } }
        let first = try await hub.exchange()
        #expect(try await hub.exchange().answer.text == "full, hello")
        #expect(hub.gate.counts.refused[.full] == 1)
        try await first.channel.close()
        #expect(try await eventually { hub.gate.counts.open == 0 })
        #expect(try await hub.exchange().answer.text == "hello")
        await hub.stop()
    }

    @Test func `a rate lets so many in at once and then so many a second`() {
        var bucket = RateBucket(perSecond: 2)
        let start = NIODeadline.uptimeNanoseconds(1_000_000_000)
        #expect([0, 0, 0].map { bucket.take(now: start + .milliseconds($0)) } == [true, true, false])
        #expect([499, 500, 600].map { bucket.take(now: start + .milliseconds($0)) } == [false, true, false])
        #expect([9_000, 9_000, 9_000].map { bucket.take(now: start + .milliseconds($0)) } == [true, true, false])
    }

    @Test func `connections beyond the rate are refused`() async throws {
        let hub = try await EchoListener { $0.refusal = { _ in Array("later".utf8) } }
        hub.gate.limitRate(perSecond: 0)
        #expect(try await hub.exchange().answer.text == "later")
        hub.gate.limitRate(perSecond: nil)
        #expect(try await hub.exchange().answer.text == "hello")
        await hub.stop()
    }

    @Test func `a port that is taken is reported in one line that says what to do`() async throws {
        let hub = try await EchoListener()
        let port = hub.port
        let error = await #expect(throws: ListenError.self) {
            _ = try await EchoListener {
                $0.name = "mqtts"
                $0.portSetting = "--mqtts-port"
                $0.port = port
            }
        }
        #expect(error?.reason == .taken)
        let text = try #require(error?.description)
        #expect(text.hasPrefix("mqtts: port \(port) on 127.0.0.1 is taken"))
        #expect(text.contains("--mqtts-port") && !text.contains("\n"))
        await hub.stop()
    }

    @Test func `an address of another machine is reported`() async throws {
        let error = await #expect(throws: ListenError.self) { _ = try await EchoListener { $0.address = "192.0.2.1" } }
        #expect(error?.reason == .notOurAddress)
    }

    @Test func `all addresses means IPv4 and IPv6`() async throws {
        let hub = try await EchoListener { $0.address = "*" }
        #expect(try await hub.exchange().answer.text == "hello")
        await hub.stop()
    }

    @Test func `shutdown tells connections and waits for them`() async throws {
        let hub = try await EchoListener()
        let connection = try await hub.exchange()
        await hub.stop()
        try await connection.channel.closeFuture.get()
        #expect(hub.listener.connectionCount == 0)
        await #expect(throws: (any Error).self) { try await hub.exchange() }
    }

    @Test func `a connection that ignores shutdown is closed after a while`() async throws {
        var limits = TransportLimits()
        limits.drainTimeout = .milliseconds(50)
        // Half open: the front never sees the order to end.
        let hub = try await EchoListener(limits: limits)
        let silent = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: "127.0.0.1", port: hub.port).get()
        #expect(try await eventually { hub.listener.connectionCount == 1 })
        await hub.stop()
        try await silent.closeFuture.get()
    }
}
