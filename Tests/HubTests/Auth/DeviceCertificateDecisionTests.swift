// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Crypto
import CryptoExtras
import FoundationEssentials
import HubModel
import SwiftASN1
import Testing
import X509

@testable import Hub

struct DeviceCertificateDecisionTests {
    typealias Made = TestCertificate

    private let now = TestCertificate.now

    private func identity(
        _ id: IdentityID,
        _ type: AuthenticationType,
        _ thumbprints: CredentialPair = CredentialPair(),
        status: IdentityStatus = .enabled
    ) -> RegisteredIdentity {
        RegisteredIdentity(
            id: id,
            generationID: "1",
            etag: "e",
            status: status,
            authentication: type,
            thumbprints: thumbprints
        )
    }

    private func decide(
        _ chain: [TestCertificate],
        as identity: RegisteredIdentity?,
        id: IdentityID? = nil,
        device: RegisteredIdentity? = nil,
        trusting: [TestCertificate] = [],
        limits: CertificateLimits = CertificateLimits(),
        at seconds: Int64? = nil
    ) -> Result<AuthenticatedIdentity, SignInRefusal> {
        let table = AuthorityTable()
        table.replace(with: trusting.map(\.der), reload: table.beginReload())
        return DeviceCertificateDecision(
            id: identity?.id ?? id ?? IdentityID(device: "d1"),
            identity: identity,
            device: device ?? identity
        ).decide(
            chain.map(\.der),
            authorities: table,
            limits: limits,
            clockSkewSeconds: 300,
            nowSeconds: seconds ?? now
        )
    }

    private func signed(
        _ chain: [TestCertificate],
        trusting: [TestCertificate],
        at seconds: Int64? = nil,
        limits: CertificateLimits = CertificateLimits()
    ) -> Result<AuthenticatedIdentity, SignInRefusal> {
        let identity = identity(IdentityID(device: "d1"), .certificateAuthority)
        return decide(chain, as: identity, trusting: trusting, limits: limits, at: seconds)
    }

    // MARK: Thumbprints

    @Test func `security 030 security 031 either thumbprint in either form signs in, whatever its spelling`() throws {
        let leaf = try Made("anything")
        let sha1 = PresentedCertificate.sha1(leaf.der)
        let sha256 = PresentedCertificate.sha256(leaf.der)
        #expect(sha1.utf8.count == 40)
        #expect(sha256.utf8.count == 64)
        let other = String(repeating: "0", count: 40)
        let id = IdentityID(device: "d1")
        let spaced = sha256.enumerated().map { $0.offset.isMultiple(of: 2) ? ":\($0.element)" : "\($0.element)" }
        for text in [sha1, sha1.uppercased(), sha256, sha256.uppercased(), spaced.joined()] {
            let first = decide([leaf], as: identity(id, .selfSigned, CredentialPair(primary: text, secondary: other)))
            #expect(try first.get().proof == .thumbprint(.primary))
            let second = decide([leaf], as: identity(id, .selfSigned, CredentialPair(primary: other, secondary: text)))
            #expect(try second.get().proof == .thumbprint(.secondary))
            #expect(try second.get().expiresAtSeconds == now + 1000)
        }
    }

    @Test func `security 022 security 031 a module signs in with its own thumbprint and not with its device's`() throws
    {
        let (own, devices) = (try Made("m"), try Made("d"))
        let id = IdentityID(device: "d1", module: "m1")
        let device = identity(
            IdentityID(device: "d1"),
            .selfSigned,
            CredentialPair(primary: PresentedCertificate.sha256(devices.der))
        )
        let module = identity(id, .selfSigned, CredentialPair(primary: PresentedCertificate.sha256(own.der)))
        #expect(try decide([own], as: module, device: device).get().id == id)
        #expect(decide([devices], as: module, device: device) == .failure(.wrongCertificate))
        var disabled = device
        disabled.status = .disabled
        #expect(decide([own], as: module, device: disabled) == .failure(.disabledIdentity))
    }

    @Test func `security 032 security 051 another certificate, no device and a disabled one are refused with one text`()
        throws
    {
        let (leaf, other) = (try Made("a"), try Made("a"))
        let id = IdentityID(device: "d1")
        let prints = CredentialPair(primary: PresentedCertificate.sha1(leaf.der))
        #expect(decide([other], as: identity(id, .selfSigned, prints)) == .failure(.wrongCertificate))
        #expect(decide([leaf], as: nil) == .failure(.unknownIdentity))
        #expect(decide([leaf], as: identity(id, .selfSigned, prints, status: .disabled)) == .failure(.disabledIdentity))
        #expect(decide([leaf], as: identity(id, .sas)) == .failure(.wrongKind))
        #expect(decide([leaf], as: identity(id, .none, prints)) == .failure(.wrongKind))
        let texts = [SignInRefusal.wrongCertificate, .unknownIdentity, .disabledIdentity, .wrongKind, .expired]
        #expect(Set(texts.map(\.error)).count == 1)
    }

    @Test(arguments: [(-1301, false), (-1299, true), (0, true), (1299, true), (1301, false)])
    func `security 033 a leaf outside its time is refused, five minutes of clock skew granted`(
        _ offset: Int64,
        _ isGood: Bool
    ) throws {
        let leaf = try Made("a")
        let prints = CredentialPair(primary: PresentedCertificate.sha1(leaf.der))
        let pinned = decide([leaf], as: identity(IdentityID(device: "d1"), .selfSigned, prints), at: now + offset)
        #expect(((try? pinned.get()) != nil) == isGood)
        let root = try Made.authority("root") { $0.from = now - 5000 }
        let child = try Made("d1", issuer: root)
        #expect(((try? signed([child], trusting: [root], at: now + offset).get()) != nil) == isGood)
    }

    // MARK: Authorities

    @Test
    func `security 034 a leaf of a verified authority signs in as its common name, with and without intermediates`()
        throws
    {
        let root = try Made.authority("root")
        let middle = try Made.authority("middle", issuer: root) { $0.pathLength = 0 }
        let leaf = try Made("d1", issuer: middle)
        let direct = try Made("d1", issuer: root)
        let proof = DeviceProof.certificateAuthority(thumbprint: PresentedCertificate.sha256(root.der))
        #expect(try signed([direct], trusting: [root]).get().proof == proof)
        #expect(try signed([leaf, middle], trusting: [root]).get().proof == proof)
        // The root may be sent too, and the order behind the leaf does not count.
        #expect(try signed([leaf, root, middle], trusting: [root]).get().proof == proof)
        // An intermediate authority may be the registered one.
        let ofMiddle = DeviceProof.certificateAuthority(thumbprint: PresentedCertificate.sha256(middle.der))
        #expect(try signed([leaf], trusting: [middle]).get().proof == ofMiddle)
        #expect(try signed([leaf, middle, root], trusting: [middle]).get().proof == ofMiddle)
        #expect(try signed([leaf, middle], trusting: [root]).get().expiresAtSeconds == now + 1000)
    }

    @Test func `security 034 another name, an unregistered authority and a missing intermediate are refused`() throws {
        let (root, stranger) = (try Made.authority("root"), try Made.authority("root"))
        let middle = try Made.authority("middle", issuer: root)
        for name in ["d2", "D1", "d1 ", ""] {
            let leaf = try Made(name, issuer: root)
            #expect(signed([leaf], trusting: [root]) == .failure(.wrongCertificate))
        }
        let foreign = try Made("d1", issuer: stranger)
        #expect(signed([foreign], trusting: [root]) == .failure(.untrustedCertificate))
        #expect(signed([foreign, stranger], trusting: [root]) == .failure(.untrustedCertificate))
        #expect(signed([try Made("d1", issuer: root)], trusting: []) == .failure(.untrustedCertificate))
        #expect(signed([try Made("d1", issuer: middle)], trusting: [root]) == .failure(.untrustedCertificate))
        #expect(signed([try Made("d1")], trusting: [root]) == .failure(.untrustedCertificate))
    }

    @Test func `security 034 a name that only looks like the device's is another`() throws {
        let root = try Made.authority("root")
        let device = identity(IdentityID(device: "K;1"), .certificateAuthority)
        // The Kelvin sign and the Greek question mark, which Swift's comparison takes for K and ;.
        for name in ["\u{212A};1", "K\u{37E}1"] {
            let leaf = try Made(name, issuer: root)
            #expect(decide([leaf], as: device, trusting: [root]) == .failure(.wrongCertificate))
        }
        #expect((try? decide([Made("K;1", issuer: root)], as: device, trusting: [root]).get()) != nil)
    }

    @Test func `security 034 a module's common name is that of device and module`() throws {
        let root = try Made.authority("root")
        let module = identity(IdentityID(device: "d1", module: "m1"), .certificateAuthority)
        let device = identity(IdentityID(device: "d1"), .certificateAuthority)
        #expect((try? decide([Made("d1/m1", issuer: root)], as: module, device: device, trusting: [root]).get()) != nil)
        #expect(
            decide([try Made("m1", issuer: root)], as: module, device: device, trusting: [root])
                == .failure(.wrongCertificate)
        )
    }

    @Test func `security 034 only certificate authorities issue`() throws {
        let root = try Made.authority("root")
        let notOne = try Made("middle", issuer: root)
        let old = try Made("middle", issuer: root) { $0.version = .v1 }
        let noSigner = try Made.authority("middle", issuer: root) { $0.keyUsage = KeyUsage(digitalSignature: true) }
        let critical = try Made.authority("middle", issuer: root) {
            $0.extra = Certificate.Extension(oid: [1, 2, 3, 4], critical: true, value: [5, 0])
        }
        let ended = try Made.authority("middle", issuer: root) { $0.until = now - 400 }
        for middle in [notOne, old, noSigner, critical, ended] {
            let chain = [try Made("d1", issuer: middle), middle]
            #expect(signed(chain, trusting: [root]) == .failure(.untrustedCertificate))
        }
        let signer = try Made.authority("middle", issuer: root) { $0.keyUsage = KeyUsage(keyCertSign: true) }
        #expect((try? signed([try Made("d1", issuer: signer), signer], trusting: [root]).get()) != nil)
        // A signature of the right name and the wrong key.
        let forged = try Made.authority("middle", issuer: try Made.authority("root"))
        #expect(
            signed([try Made("d1", issuer: forged), forged], trusting: [root]) == .failure(.untrustedCertificate)
        )
    }

    @Test func `security 034 an authority's path length holds`() throws {
        let root = try Made.authority("root") { $0.pathLength = 0 }
        let middle = try Made.authority("middle", issuer: root)
        #expect((try? signed([try Made("d1", issuer: root)], trusting: [root]).get()) != nil)
        #expect(
            signed([try Made("d1", issuer: middle), middle], trusting: [root]) == .failure(.untrustedCertificate)
        )
    }

    @Test func `security 034 a path has at most five certificates and the search for one is bounded`() throws {
        let root = try Made.authority("root")
        var chain: [TestCertificate] = []
        var issuer = root
        for level in 1...4 {
            let next = try Made.authority("level \(level)", issuer: issuer)
            let leaf = try Made("d1", issuer: issuer)
            #expect((try? signed([leaf] + chain, trusting: [root]).get()) != nil, "\(level)")
            chain.append(next)
            issuer = next
        }
        let leaf = try Made("d1", issuer: issuer)
        #expect(signed([leaf] + chain, trusting: [root]) == .failure(.untrustedCertificate))
        // Authorities of one name and one key that all could have issued each other.
        let key = Certificate.PrivateKey(P256.Signing.PrivateKey())
        let loop = try (1...4).map { _ in try Made.authority("loop") { $0.key = key } }
        var limits = CertificateLimits()
        limits.signatureChecksMax = 3
        #expect(signed([try Made("d1", issuer: loop[0])] + loop, trusting: [root]) == .failure(.untrustedCertificate))
        #expect(
            signed([try Made("d1", issuer: loop[0])] + loop, trusting: [root], limits: limits)
                == .failure(.untrustedCertificate)
        )
    }

    @Test func `security 034 extended key usage where there is one names client authentication`() throws {
        let root = try Made.authority("root")
        for (usages, isGood) in [([ExtendedKeyUsage.Usage.clientAuth], true), ([.any], true), ([.serverAuth], false)] {
            let leaf = try Made("d1", issuer: root) { $0.extendedKeyUsage = usages }
            #expect(((try? signed([leaf], trusting: [root]).get()) != nil) == isGood)
        }
    }

    @Test func `security 034 weak keys are refused and RSA with 2,048 bits is not`() throws {
        let root = try Made.authority("root")
        for (bits, isGood) in [(1024, false), (2048, true)] {
            let key = Certificate.PrivateKey(try _RSA.Signing.PrivateKey(unsafeKeySize: .init(bitCount: bits)))
            let leaf = try Made("d1", issuer: root) { $0.key = key }
            #expect(((try? signed([leaf], trusting: [root]).get()) != nil) == isGood)
        }
        let edwards = Certificate.PrivateKey(Curve25519.Signing.PrivateKey())
        let leaf = try Made("d1", issuer: root) { $0.key = edwards }
        #expect(signed([leaf], trusting: [root]) == .failure(.untrustedCertificate))
    }

    @Test func `security 053 what is no certificate or too large a one is refused`() throws {
        let leaf = try Made("d1")
        let device = identity(IdentityID(device: "d1"), .selfSigned, CredentialPair(primary: "00"))
        func decide(_ chain: [[UInt8]], limits: CertificateLimits = CertificateLimits()) -> SignInRefusal? {
            let decision = DeviceCertificateDecision(id: device.id, identity: device, device: device)
            let outcome = decision.decide(
                chain,
                authorities: AuthorityTable(),
                limits: limits,
                clockSkewSeconds: 300,
                nowSeconds: now
            )
            guard case .failure(let refusal) = outcome else { return nil }
            return refusal
        }
        var limits = CertificateLimits()
        limits.certificateBytesMax = leaf.der.count - 1
        #expect(decide([leaf.der], limits: limits) == .malformedCertificate)
        #expect(decide([]) == .malformedCertificate)
        #expect(decide([[]]) == .malformedCertificate)
        for place in stride(from: 0, to: leaf.der.count, by: 3) {
            var damaged = leaf.der
            damaged[place] ^= 0xFF
            #expect(decide([damaged]) != nil)
            #expect(decide([Array(leaf.der[..<place])]) == .malformedCertificate)
        }
    }
}
