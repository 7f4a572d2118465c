// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Crypto
import FoundationEssentials
import HubModel
import Testing

@testable import Hub

enum HMACText {
    static func sign(_ text: String, _ key: [UInt8]) -> String {
        Base64.encode(HMAC<SHA256>.authenticationCode(for: Data(text.utf8), using: SymmetricKey(data: key)))
    }
}

extension Result {
    fileprivate var failure: Failure? {
        switch self {
        case .success: nil
        case .failure(let failure): failure
        }
    }
    fileprivate var success: Success? {
        switch self {
        case .success(let success): success
        case .failure: nil
        }
    }
}

struct SharedAccessSignatureTests {
    typealias V = SASVectors

    @Test(arguments: [
        (V.v1, "dev1", KeySlot.primary), (V.v2, "dev1", .secondary), (V.v4, "dev1", .primary),
        (V.v5, "a:c@d#e", .primary),
        (V.v6, "a:c@d#e", .primary), (V.v9, "dev1", .primary), (V.v18, "sensor'7$a=b", .primary),
        (V.v15, "dev1", .primary),
    ])
    func `security 001 security 011 security 018 device vectors verify with the key that signed`(
        _ token: String,
        _ device: String,
        _ slot: KeySlot
    ) {
        let outcome = V.decide(token, device)
        #expect(outcome.success?.proof == .identityKey(slot))
        #expect(outcome.success?.expiresAtSeconds == V.far)
    }

    @Test func `security 001 the full spellings of other clients verify`() {
        let signature = "w0KgkpdzckhIlUWr8HYtUXZRhGjOx6GXQrEOf4SLNg0"
        for token in [
            "SharedAccessSignature sr=hub1.example.com/devices/dev1&sig=\(signature)%3d&se=4102444800",
            "SharedAccessSignature sig=\(signature)%3D&se=4102444800&sr=hub1.example.com/devices/dev1",
            "SharedAccessSignature sr=hub1.example.com/devices/dev1&sig=\(signature)%3d&se=4102444800&skn=dev1",
            "SharedAccessSignature sr=hub1.example.com/devices/dev1&sig=\(signature)%3d&se=4102444800&skn=",
        ] {
            #expect(V.decide(token, "dev1").success != nil)
        }
    }

    @Test func `security 001 module vectors verify for their module only`() {
        #expect(V.decide(V.v3, "dev1", module: "mod1").success != nil)
        #expect(V.decide(V.v3, "dev1", module: "mod2").failure == .wrongAudience)
        #expect(V.decide(V.v12, "edge1", module: "$edgeHub").success != nil)
        #expect(V.decide(V.v13, "edge1", module: "$edgeHub").success != nil)
        // N4.
        #expect(V.decide(V.v3, "dev1").failure == .wrongSignature)
        let sameKeys = V.identity(IdentityID(device: "dev1"), V.module)
        #expect(V.decide(V.v3, "dev1", identity: sameKeys).failure == .wrongAudience)
    }

    @Test func `a device's key does not sign in its module`() {
        #expect(V.decide(V.v1, "dev1", module: "mod1").failure == .wrongSignature)
    }

    @Test func `security 002 a signature over another spelling of the audience fails`() {
        let n1 = V.token("hub1.example.com%2Fdevices%2Fdev1", "w0KgkpdzckhIlUWr8HYtUXZRhGjOx6GXQrEOf4SLNg0=")
        #expect(V.decide(n1, "dev1").failure == .wrongSignature)
        let n2 = V.v1.replacing("4102444800", with: "4102444801")
        #expect(V.decide(n2, "dev1").failure == .wrongSignature)
        #expect(V.decide(V.v1.replacing("4102444800", with: "04102444800"), "dev1").failure == .wrongSignature)
    }

    @Test func `security 003 names and scheme are read in any letter case and order`() {
        let parts = V.v1.dropFirst("SharedAccessSignature ".count).split(separator: "&")
        let upper = parts.map { part in
            let sides = part.split(separator: "=", maxSplits: 1)
            return "\(sides[0].uppercased())=\(sides[1])"
        }
        for scheme in ["SharedAccessSignature", "sharedaccesssignature", "SHAREDACCESSSIGNATURE"] {
            #expect(V.decide("\(scheme) \(upper.reversed().joined(separator: "&"))", "dev1").success != nil)
        }
    }

    @Test func `security 004 raw slash and raw plus in the signature are accepted`() throws {
        #expect(throws: Never.self) {
            try V.services().authenticate(token: V.v7, dialect: .hub, nowSeconds: V.now)
        }
        let raw = V.v1.replacing("%2B", with: "+")
        #expect(raw != V.v1)
        #expect(V.decide(raw, "dev1").success != nil)
    }

    @Test func `security 005 security 006 an empty policy name is none and the device's own id stands for none`() throws
    {
        #expect(try SharedAccessSignature(parsing: V.v4 + "&skn=").keyName == nil)
        #expect(V.decide(V.v4 + "&skn=", "dev1").success != nil)
        #expect(V.decide(V.v4 + "&skn=dev1", "dev1").success?.proof == .identityKey(.primary))
        #expect(V.decide(V.v4 + "&skn=dev2", "dev1").failure == .wrongSignature)
        // A policy of the device's name counts too, after the device's own keys.
        let token = V.signed("hub1.example.com%2Fdevices", key: V.ownerKey, skn: "device")
        #expect(V.decide(token, "device").success?.proof == .policyKey(policy: "device", .primary))
    }

    @Test(arguments: [(Int64(299), true), (300, true), (301, false)])
    func `security 007 a token signs in until five minutes after its expiry`(_ late: Int64, _ isGood: Bool) {
        let outcome = V.decide(V.v1, "dev1", now: V.far + late)
        #expect((outcome.success != nil) == isGood)
        if !isGood { #expect(outcome.failure == .expired) }
        #expect(V.decide(V.v17, "dev1").failure == .expired)
    }

    @Test func `security 010 expiries far in the future are accepted`() throws {
        let endless = V.signed("hub1.example.com", key: V.serviceKey, se: "18446744073709551615", skn: "service")
        for token in [endless, V.v16] {
            let principal = try V.services().authenticate(token: token, dialect: .hub, nowSeconds: V.now)
            #expect(principal.expiresAtSeconds == SharedAccessSignature.expirySecondsMax)
        }
        #expect(throws: SharedAccessSignature.ParseError.expiry) {
            try SharedAccessSignature(parsing: V.v1.replacing("4102444800", with: "18446744073709551616"))
        }
    }

    @Test func `security 012 a lower-cased audience is good with an identity key and not with a policy key`() {
        #expect(V.decide(V.v14, "Edge1").success != nil)
        let policy = V.signed("hub1.example.com%2Fdevices%2Fedge1", key: V.ownerKey, skn: "device")
        #expect(V.decide(policy, "Edge1").failure == .wrongAudience)
        #expect(V.decide(policy, "edge1").success != nil)
    }

    @Test func `security 013 a policy for all devices signs in any that is registered and enabled`() {
        for device in ["dev1", "other", "device"] {
            #expect(V.decide(V.v11, device).success?.proof == .policyKey(policy: "device", .primary))
        }
        let id = IdentityID(device: "dev1")
        #expect(V.decide(V.v11, "dev1", identity: .some(nil)).failure == .unknownIdentity)
        #expect(V.decide(V.v11, "dev1", identity: V.identity(id, status: .disabled)).failure == .disabledIdentity)
        #expect(V.decide(V.v11, "dev1", identity: V.identity(id, authentication: .selfSigned)).success != nil)
        #expect(V.decide(V.v11, "dev1", identity: V.identity(id, authentication: .none)).failure == .wrongKind)
        #expect(V.decide(V.v11, "dev1", module: "m").success != nil)
        let disabled = V.identity(id, status: .disabled)
        #expect(V.decide(V.v11, "dev1", module: "m", device: disabled).failure == .disabledIdentity)
    }

    @Test func `security 014 a service policy is refused as a device`() {
        for audience in ["hub1.example.com", "hub1.example.com%2Fdevices%2Fdev1"] {
            let token = V.signed(audience, key: V.serviceKey, skn: "service")
            #expect(V.decide(token, "dev1").failure == .missingRight)
        }
    }

    @Test func `security 015 an audience covers whole segments only`() {
        #expect(V.decide(V.v1, "dev10").failure == .wrongAudience)
        #expect(V.decide(V.v1, "dev1x").failure == .wrongAudience)
        #expect(V.decide(V.v10, "dev1").success != nil)
        #expect(V.decide(V.v10, "dev10").failure == .wrongAudience)
        for path in ["dev1/../dev2", "dev1%2F..%2Fdev2", "./dev2", "/dev2", "dev2%00", "dev2/.."] {
            let own = V.signed("hub1.example.com/devices/\(path)", key: V.device.primary ?? "")
            #expect(V.decide(own, "dev2").failure == .wrongAudience)
            let policy = V.signed("hub1.example.com/devices/\(path)", key: V.ownerKey, skn: "device")
            #expect(V.decide(policy, "dev2").failure == .wrongAudience)
        }
    }

    @Test func `security 016 the host compares without case and port and never by its beginning`() {
        #expect(V.decide(V.v9, "dev1").success != nil)
        for (host, isGood) in [
            ("HUB1.Example.COM", true), ("hub1.example.com%3a443", true), ("https%3A%2F%2Fhub1.example.com", true),
            ("hub1.example.com.evil", false), ("evil.hub1.example.com", false), ("hub1", false), ("", false),
            ("hub1.example.com%3A443.evil", false),
        ] {
            let token = V.signed("\(host)%2Fdevices%2Fdev1", key: V.device.primary ?? "")
            #expect((V.decide(token, "dev1").success != nil) == isGood, "\(host)")
        }
    }

    @Test func `a policy audience is decoded exactly once`() {
        let token = V.signed("hub1.example.com%2Fdevices%2Fa%253Ab", key: V.ownerKey, skn: "device")
        #expect(V.decide(token, "a%3Ab").success != nil)
        #expect(V.decide(token, "a:b").failure == .wrongAudience)
    }

    @Test(arguments: [
        "", "SharedAccessSignature", "SharedAccessSignature ", "SharedAccessSignaturesr=a&sig=b&se=1",
        "Bearer sr=a&sig=b&se=1", "SharedAccessSignature a b", V.v1 + " x", V.v1 + "&sr=x", V.v1 + "&", V.v1 + "\n",
        V.v1 + "&x", "SharedAccessSignature sig=\(V.v10Signature)&se=1", "SharedAccessSignature sr=a&se=1",
        "SharedAccessSignature sr=a&sig=&se=1", "SharedAccessSignature sr=&sig=\(V.v10Signature)&se=1",
        "SharedAccessSignature sr=a&sig=\(V.v10Signature)&se=",
        "SharedAccessSignature sr=a&sig=\(V.v10Signature)&se=-1",
        "SharedAccessSignature sr=a&sig=\(V.v10Signature)&se=abc",
        "SharedAccessSignature sr=a&sig=\(V.v10Signature)&se=+1",
        "SharedAccessSignature sr=a&sig=\(Base64.encode([UInt8](repeating: 1, count: 31)))&se=1",
        "SharedAccessSignature sr=a&sig=\(Base64.encode([UInt8](repeating: 1, count: 64)))&se=1",
        "SharedAccessSignature sr=a&sig=by35H06Azc/gB0YhgRKMs9JL2azxvDBs+pypmJdfjd5=&se=1",
        "SharedAccessSignature sr=a&sig=%zz&se=1", V.v1 + "&skn=%f",
        V.v1 + "&skn=" + String(repeating: "a", count: 257),
        V.v1 + "&x=" + String(repeating: "a", count: 4096),
    ])
    func `security 053 malformed tokens are refused`(_ text: String) {
        #expect(throws: SharedAccessSignature.ParseError.self) { try SharedAccessSignature(parsing: text) }
        #expect(V.decide(text, "dev1").failure == .malformedToken)
    }

    @Test func `security 053 mutated tokens neither crash nor sign in`() {
        // A fixed seed: a failure repeats.
        var random = SeededGenerator(seed: 53)
        let identity = V.identity(IdentityID(device: "dev1"))
        let bytes = Array(V.v1.utf8)
        for _ in 0..<20_000 {
            var mutated = bytes
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let index = Int.random(in: 0..<mutated.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: mutated[index] = UInt8.random(in: 0...255, using: &random)
                case 1: mutated.remove(at: index)
                default: mutated.insert(UInt8.random(in: 0...255, using: &random), at: index)
                }
            }
            let text = String(decoding: mutated, as: UTF8.self)
            guard let outcome = V.decide(text, "dev1", identity: identity).success else { continue }
            // What still signs in says the same in other letters.
            let token = try? SharedAccessSignature(parsing: text)
            #expect(token?.signedText == "hub1.example.com%2Fdevices%2Fdev1\n4102444800", "\(text)")
            #expect(outcome.id.device == "dev1")
        }
    }

    @Test func `security 051 unknown id, disabled id and wrong key look and cost the same`() {
        let id = IdentityID(device: "dev1")
        let wrong = V.signed("hub1.example.com%2Fdevices%2Fdev1", key: V.otherKey)
        let table = V.table()
        let cases: [(RegisteredIdentity?, String)] = [
            (nil, V.v1), (V.identity(id, status: .disabled), V.v1), (V.identity(id), wrong),
        ]
        var times = cases.map { _ in [Duration]() }
        let clock = ContinuousClock()
        for _ in 0..<10_000 {
            for (index, (identity, token)) in cases.enumerated() {
                let decision = DeviceTokenDecision(id: id, identity: identity, device: identity)
                times[index].append(
                    clock.measure {
                        let outcome = decision.decide(
                            token,
                            names: V.names,
                            policies: table,
                            settings: V.settings,
                            clockSkewSeconds: 300,
                            nowSeconds: V.now
                        )
                        if outcome.failure?.error != SignInRefusal.unknownIdentity.error {
                            Issue.record("a refusal differs")
                        }
                    }
                )
            }
        }
        let medians = times.map { $0.sorted()[5_000] }
        let (fastest, slowest) = (medians.min() ?? .zero, medians.max() ?? .zero)
        #expect(slowest < fastest * 3 / 2, "\(medians)")
    }

    @Test func `security 065 keys of public documents are no secrets`() {
        #expect(V.decide(V.v1, "dev1", settings: AuthenticationSettings()).failure == .wrongSignature)
        let strict = PolicyAuthenticator(
            names: V.names,
            policies: PolicyTable(V.policies),
            settings: AuthenticationSettings(),
            limits: Limits()
        )
        #expect(throws: HubError.self) { try strict.authenticate(token: V.v8, dialect: .hub, nowSeconds: V.now) }
        #expect(throws: HubError.self) { try strict.authenticate(token: V.v19, dialect: .eventHubs, nowSeconds: V.now) }
        #expect(throws: HubError.self) { try strict.authenticate(policy: "service", key: V.serviceKey) }
    }

    @Test func `settings switch off each kind of key by itself`() {
        var settings = V.settings
        settings.disableDeviceSAS = true
        #expect(V.decide(V.v1, "dev1", settings: settings).failure == .kindDisabled)
        #expect(V.decide(V.v3, "dev1", module: "mod1", settings: settings).success != nil)
        #expect(V.decide(V.v11, "dev1", settings: settings).success != nil)
        settings = V.settings
        settings.disableModuleSAS = true
        #expect(V.decide(V.v3, "dev1", module: "mod1", settings: settings).failure == .kindDisabled)
        settings = V.settings
        settings.disableLocalAuth = true
        #expect(V.decide(V.v11, "dev1", settings: settings).failure == .kindDisabled)
        #expect(V.decide(V.v1, "dev1", settings: settings).success != nil)
        settings = V.settings
        settings.tokenLifetimeSecondsMax = 3600
        #expect(V.decide(V.v1, "dev1", settings: settings).failure == .lifetimeTooLong)
        #expect(V.decide(V.v1, "dev1", settings: settings, now: V.far - 3600).success != nil)
    }

    @Test func `an own key is refused where the identity is registered for certificates`() {
        let identity = V.identity(IdentityID(device: "dev1"), authentication: .certificateAuthority)
        #expect(V.decide(V.v1, "dev1", identity: identity).failure == .wrongKind)
    }

    @Test func `a device token presented under a policy's name is refused and a policy token without its name too`() {
        #expect(V.decide(V.v1 + "&skn=device", "dev1").failure == .wrongSignature)
        let bare = V.token("hub1.example.com%2Fdevices%2Fdev1", V.v10Signature)
        #expect(V.decide(bare, "dev1").failure == .wrongSignature)
        let twoResources = V.v1.replacing("dev1&", with: "dev1%00&")
        #expect(V.decide(twoResources, "dev1").failure == .wrongSignature)
    }
}

/// A small generator with a seed, so that a failing run repeats.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { self.state = seed }

    mutating func next() -> UInt64 {
        // SplitMix64.
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = self.state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
