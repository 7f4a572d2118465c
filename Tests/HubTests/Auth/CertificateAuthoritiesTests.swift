// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import EmbeddedStore
import HubModel
import Logging
import NIOCore
import SwiftASN1
import Synchronization
import Testing
import X509

@testable import Hub

/// The registry of authorities on a real store in memory.
struct CertificateAuthoritiesTests {
    typealias Made = TestCertificate

    /// Authorities, what sign-ins read of them, and what was told of them.
    private struct Bench {
        let authorities: CertificateAuthorities
        let table = AuthorityTable()
        let signals = Signals()
        let log = Lines()

        init(limits: Limits = Limits()) throws {
            let bus = LocalBus()
            let signals = signals
            bus.listen { signal in signals.add(signal) }
            authorities = CertificateAuthorities(
                store: EmbeddedAuthorityStore(try StateDatabase.inMemory(), limits: limits),
                table: table,
                bus: bus,
                limits: limits,
                clock: HubClock { TestCertificate.now * 1000 },
                logger: log.logger
            )
        }

        func isInForce(_ authority: TestCertificate) -> Bool {
            table.contains(thumbprint: PresentedCertificate.sha256(authority.der))
        }

        func put(
            _ name: String,
            _ authority: TestCertificate,
            isVerified: Bool? = nil
        ) async throws
            -> CertificateAuthority
        {
            try await authorities.put(name, certificate: authority.pem, isVerified: isVerified, ifMatch: nil)
        }
    }

    private func code(of body: () async throws -> Void) async -> HubErrorCode? {
        do {
            try await body()
            return nil
        } catch {
            return (error as? HubError)?.code
        }
    }

    @Test func `security 035 the right code signed with the right key verifies, once`() async throws {
        let bench = try Bench()
        let root = try Made.authority("root")
        let registered = try await bench.put("fleet", root)
        #expect(!registered.isVerified)
        #expect(!bench.isInForce(root))
        let asked = try await bench.authorities.makeVerificationCode("fleet", ifMatch: nil)
        let code = try #require(asked.verificationCode)
        #expect(code.utf8.count == 48)
        let proof = try Made(code, issuer: root)
        let verified = try await bench.authorities.verify("fleet", proof: proof.pem, ifMatch: .etags([asked.etag]))
        #expect(verified.isVerified)
        #expect(bench.isInForce(root))
        #expect(bench.signals.all.last == .authoritiesChanged)
        // The code is used up.
        #expect(
            await self.code { _ = try await bench.authorities.verify("fleet", proof: proof.pem, ifMatch: nil) }
                == .argumentInvalid
        )
        let second = try await bench.authorities.makeVerificationCode("fleet", ifMatch: nil)
        #expect(second.verificationCode != code)
        #expect(
            await self.code { _ = try await bench.authorities.verify("fleet", proof: proof.pem, ifMatch: nil) }
                == .argumentInvalid
        )
    }

    @Test func `security 035 another name, another key, an older code and a stale entity tag prove nothing`()
        async throws
    {
        let bench = try Bench()
        let (root, stranger) = (try Made.authority("root"), try Made.authority("root"))
        let first = try await bench.put("fleet", root)
        let none = try Made("", issuer: root)
        #expect(
            await code { _ = try await bench.authorities.verify("fleet", proof: none.pem, ifMatch: nil) }
                == .argumentInvalid
        )
        let older = try await bench.authorities.makeVerificationCode("fleet", ifMatch: .etags([first.etag]))
        let asked = try await bench.authorities.makeVerificationCode("fleet", ifMatch: nil)
        let name = try #require(asked.verificationCode)
        let proofs = [
            try Made("wrong", issuer: root), try Made(name.lowercased(), issuer: root),
            try Made(name, issuer: stranger), try Made(name),
            try Made(older.verificationCode ?? "", issuer: root),
            try Made(name, issuer: root) { $0.until = TestCertificate.now - 400 },
        ]
        for proof in proofs {
            #expect(
                await code { _ = try await bench.authorities.verify("fleet", proof: proof.pem, ifMatch: nil) }
                    == .argumentInvalid
            )
        }
        let good = try Made(name, issuer: root)
        #expect(
            await code {
                _ = try await bench.authorities.verify("fleet", proof: good.pem, ifMatch: .etags([older.etag]))
            } == .preconditionFailed
        )
        #expect(
            await code {
                _ = try await bench.authorities.makeVerificationCode("fleet", ifMatch: .etags([first.etag]))
            } == .preconditionFailed
        )
        #expect(!bench.isInForce(root))
        #expect(
            await code { _ = try await bench.authorities.verify("none", proof: good.pem, ifMatch: nil) }
                == .certificateNotFound
        )
    }

    @Test func `security 036 skipping the proof at registration is recorded`() async throws {
        let bench = try Bench()
        let root = try Made.authority("root")
        #expect(try await bench.put("fleet", root, isVerified: true).isVerified)
        #expect(bench.isInForce(root))
        #expect(bench.log.text.contains("without a proof"))
        #expect(bench.log.text.contains(PresentedCertificate.sha256(root.der)))
        // Said again, it is no news; and what nobody says stays.
        #expect(try await bench.put("fleet", root).isVerified)
        // Another certificate under the name has to be proved anew.
        let other = try Made.authority("other")
        #expect(try await !bench.put("fleet", other).isVerified)
        #expect(!bench.isInForce(root))
        #expect(!bench.isInForce(other))
    }

    @Test func `security 037 what is removed or no longer verified is out of force when the call returns`() async throws
    {
        let bench = try Bench()
        let (root, other) = (try Made.authority("root"), try Made.authority("other"))
        let fleet = try await bench.put("fleet", root, isVerified: true)
        _ = try await bench.put("other", other, isVerified: true)
        #expect(try await bench.authorities.list().map(\.name) == ["fleet", "other"])
        #expect(
            await code { try await bench.authorities.remove("fleet", ifMatch: .etags(["other"])) }
                == .preconditionFailed
        )
        try await bench.authorities.remove("fleet", ifMatch: .etags([fleet.etag]))
        #expect(!bench.isInForce(root))
        #expect(bench.isInForce(other))
        #expect(bench.signals.all.last == .authoritiesChanged)
        #expect(await code { try await bench.authorities.remove("fleet", ifMatch: nil) } == .certificateNotFound)
        _ = try await bench.put("other", other, isVerified: false)
        #expect(!bench.isInForce(other))
    }

    @Test func `what is no certificate of an authority is not registered`() async throws {
        let bench = try Bench()
        let leaf = try Made("leaf")
        let ended = try Made.authority("ended") { $0.until = TestCertificate.now - 400 }
        // Name constraints: none of its devices could sign in.
        let constrained = try Made.authority("constrained") {
            $0.extra = Certificate.Extension(oid: [2, 5, 29, 30], critical: true, value: [0x30, 0])
        }
        for (name, text) in [
            ("fleet", leaf.pem), ("fleet", ended.pem), ("fleet", constrained.pem), ("fleet", ""), ("fleet", "AAAA"),
            ("fleet", "-----BEGIN CERTIFICATE-----"), ("", try Made.authority("a").pem),
            ("a/b", try Made.authority("a").pem),
        ] {
            #expect(
                await code {
                    _ = try await bench.authorities.put(name, certificate: text, isVerified: true, ifMatch: nil)
                } == .argumentInvalid
            )
        }
        #expect(try await bench.authorities.list().isEmpty)
    }

    @Test func `a chain that leads to a verified authority is vouched for`() async throws {
        let bench = try Bench()
        let root = try Made.authority("root")
        let middle = try Made.authority("middle", issuer: root)
        let leaf = try Made("d", issuer: middle)
        _ = try await bench.put("fleet", root)
        #expect(!bench.authorities.vouch(for: [leaf.der, middle.der]))
        _ = try await bench.put("fleet", root, isVerified: true)
        #expect(bench.authorities.vouch(for: [leaf.der, middle.der]))
        for chain in [[], [leaf.der], [[0x30, 0]], [try Made("d").der, middle.der]] {
            #expect(!bench.authorities.vouch(for: chain))
        }
    }

    @Test func `a certificate is taken as PEM, as base64 of PEM and as base64 of DER`() async throws {
        let bench = try Bench()
        let root = try Made.authority("root")
        for text in [root.pem, "text before\n" + root.pem, Base64.encode(root.pem.utf8), Base64.encode(root.der)] {
            let put = try await bench.authorities.put("fleet", certificate: text, isVerified: nil, ifMatch: nil)
            #expect(put.certificate == root.der)
        }
    }

    @Test func `as many authorities as the limit says are registered`() async throws {
        var limits = Limits()
        limits.certificates.authoritiesMax = 2
        let bench = try Bench(limits: limits)
        let root = try Made.authority("root")
        _ = try await bench.put("a", root)
        _ = try await bench.put("b", root)
        #expect(await code { _ = try await bench.put("c", root) } == .quotaExceeded)
        _ = try await bench.put("b", root, isVerified: true)
    }

    @Test func `what was read of the store earlier does not replace what was read later`() throws {
        let (old, new) = (try Made.authority("old"), try Made.authority("new"))
        let table = AuthorityTable()
        let first = table.beginReload()
        let second = table.beginReload()
        table.replace(with: [new.der], reload: second)
        table.replace(with: [old.der], reload: first)
        #expect(table.contains(thumbprint: PresentedCertificate.sha256(new.der)))
        #expect(!table.contains(thumbprint: PresentedCertificate.sha256(old.der)))
    }
}

extension TestCertificate {
    /// The certificate as PEM text.
    var pem: String { PEMDocument(type: "CERTIFICATE", derBytes: der).pemString + "\n" }
}

/// Signals that were heard.
private final class Signals: Sendable {
    private let heard = Mutex<[HubSignal]>([])

    var all: [HubSignal] { heard.withLock { $0 } }

    func add(_ signal: HubSignal) { heard.withLock { $0.append(signal) } }
}

/// What was logged.
private final class Lines: Sendable {
    private let lines = Mutex<[String]>([])

    var text: String { lines.withLock { $0.joined(separator: "\n") } }

    var logger: Logger { Logger(label: "test") { _ in Handler(lines: self) } }

    private struct Handler: LogHandler {
        let lines: Lines
        var logLevel = Logger.Level.trace
        var metadata: Logger.Metadata = [:]

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            lines.lines.withLock { $0.append("\(event.message) \(event.metadata ?? [:])") }
        }
    }
}
