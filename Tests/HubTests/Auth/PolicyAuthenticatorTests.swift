// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel
import Testing

@testable import Hub

struct PolicyAuthenticatorTests {
    typealias V = SASVectors

    private func principal(
        _ token: String,
        _ dialect: TokenDialect = .hub,
        _ services: PolicyAuthenticator = V.services()
    ) -> ServicePrincipal? {
        try? services.authenticate(token: token, dialect: dialect, nowSeconds: V.now)
    }

    @Test func `security 001 service vectors verify and carry the policy's rights`() {
        for token in [V.v7, V.v8, V.v16] {
            let principal = self.principal(token)
            #expect(principal?.policy == "service")
            #expect(principal?.rights == .serviceConnect)
            #expect(principal?.audiencePath == "")
            #expect(principal?.keySlot == .primary)
        }
        let node = V.v8.replacing("&se=4102444800&skn=service", with: "&skn=service&se=4102444800")
        #expect(self.principal(node) != nil)
    }

    @Test func `security 018 rest_service 003 the secondary key of a policy works`() {
        let token = V.signed("hub1.example.com", key: V.otherKey, skn: "service")
        #expect(self.principal(token)?.keySlot == .secondary)
    }

    @Test func `security 017 event_hubs 005 the Event Hubs dialect verifies on the built-in endpoint only`() {
        var strict = V.settings
        strict.acceptsHubDialectOnEventHubs = false
        let services = V.services(V.table(), strict)
        for token in [V.v19, V.v20] {
            #expect(self.principal(token, .eventHubs)?.policy == "iothubowner")
            #expect(self.principal(token, .eventHubs, services) != nil)
            #expect(self.principal(token, .hub) == nil)
        }
        #expect(self.principal(V.v20, .eventHubs)?.audiencePath == "iothub-ehub-1/ConsumerGroups/$Default/Partitions/0")
        // By default both derivations are good on the listener that both share; the setting makes it strict.
        #expect(self.principal(V.v8, .eventHubs) != nil)
        #expect(self.principal(V.v8, .eventHubs, services) == nil)
        #expect(V.decide(V.v19, "dev1") == .failure(.wrongSignature))
    }

    @Test
    func `event_hubs 005 the published vector of the Event Hubs dialect verifies and a flipped character does not`() {
        let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
        let table = PolicyTable([
            SharedAccessPolicy(name: "service", primaryKey: key, secondaryKey: V.otherKey, rights: .serviceConnect)
        ])
        let services = PolicyAuthenticator(
            names: HubNames(hostNames: ["hub-eh.example.net"]),
            policies: table,
            settings: AuthenticationSettings(),
            limits: Limits()
        )
        for signature in [
            "eTWxDwwfzVsNQx2LLqVwsJLDBdDEwPoDjpbAxffiRJk=", "pkLfebKYPA2xkLmgWykH0xmnHNmxJBtqGdjClMoHUQU=",
        ] {
            let token = V.token("sb%3A%2F%2Fhub-eh.example.net%2Fmyhub", signature, "1700003600", skn: "service")
            let now: Int64 = 1_700_000_000
            #expect(throws: Never.self) {
                try services.authenticate(token: token, dialect: .eventHubs, nowSeconds: now)
            }
            let flipped = token.replacing("sig=e", with: "sig=f").replacing("sig=p", with: "sig=q")
            #expect(throws: HubError.self) {
                try services.authenticate(token: flipped, dialect: .eventHubs, nowSeconds: now)
            }
        }
    }

    @Test func `event_hubs 006 event_hubs 007 lower-case escapes verify and an expired token does not`() {
        let lower = V.signed("sb%3a%2f%2feh.example.com%2fhub1", key: V.serviceKey, skn: "service", dialect: .eventHubs)
        #expect(self.principal(lower, .eventHubs)?.audiencePath == "hub1")
        let expired = V.signed(
            "sb%3A%2F%2Feh.example.com%2Fhub1",
            key: V.serviceKey,
            se: "1700000000",
            skn: "service",
            dialect: .eventHubs
        )
        #expect(self.principal(expired, .eventHubs) == nil)
    }

    @Test func `a policy name that an Event Hubs client encoded twice is found`() {
        let table = PolicyTable(
            [
                SharedAccessPolicy(
                    name: "my policy",
                    primaryKey: V.serviceKey,
                    secondaryKey: V.otherKey,
                    rights: .serviceConnect
                )
            ],
            allowsSampleKeys: true
        )
        let token = V.signed("eh.example.com", key: V.serviceKey, skn: "my%2520policy", dialect: .eventHubs)
        #expect(self.principal(token, .eventHubs, V.services(table)) != nil)
    }

    @Test func `rest_service 002 security 051 a wrong key, an unknown policy and no policy are refused alike`() {
        let wrong = V.signed("hub1.example.com", key: V.ownerKey, skn: "service")
        let unknown = V.signed("hub1.example.com", key: V.serviceKey, skn: "nobody")
        let none = V.signed("hub1.example.com", key: V.serviceKey)
        let foreign = V.signed("hub2.example.com", key: V.serviceKey, skn: "service")
        for token in [wrong, unknown, none, foreign, "Bearer x", ""] {
            #expect(throws: SignInRefusal.wrongSignature.error) {
                try V.services().authenticate(token: token, dialect: .hub, nowSeconds: V.now)
            }
        }
    }

    @Test func `rest_service 004 lower- and upper-case escapes verify`() {
        for audience in ["hub1.example.com%2fdevices", "hub1.example.com%2Fdevices"] {
            #expect(self.principal(V.signed(audience, key: V.serviceKey, skn: "service"))?.audiencePath == "devices")
        }
    }

    @Test func `rest_service 005 a token is refused five minutes after its expiry`() {
        let services = V.services()
        #expect(throws: Never.self) {
            try services.authenticate(token: V.v8, dialect: .hub, nowSeconds: V.far + 300)
        }
        #expect(throws: HubError.self) {
            try services.authenticate(token: V.v8, dialect: .hub, nowSeconds: V.far + 301)
        }
    }

    @Test func `a narrowed token covers what lies below its path only`() {
        let all = self.principal(V.v8)
        let narrow = self.principal(V.signed("hub1.example.com%2Fdevices%2Fdev1", key: V.serviceKey, skn: "service"))
        for path in ["", "devices", "devices/dev1", "messages/events"] { #expect(all?.covers(path: path) == true) }
        #expect(narrow?.covers(path: "devices/dev1") == true)
        #expect(narrow?.covers(path: "DEVICES/dev1/messages") == true)
        for path in ["", "devices", "devices/dev10", "devices/DEV1", "messages/servicebound/feedback"] {
            #expect(narrow?.covers(path: path) == false)
        }
    }

    @Test func `writing the registry includes reading it and nothing else is implied`() {
        func principal(_ rights: AccessRights) -> ServicePrincipal {
            ServicePrincipal(policy: "p", keySlot: .primary, rights: rights, audiencePath: "", expiresAtSeconds: nil)
        }
        #expect(principal(.registryWrite).has(.registryRead))
        #expect(!principal(.registryRead).has(.registryWrite))
        #expect(!principal(.serviceConnect).has(.registryRead))
        #expect(!principal(.deviceConnect).has([.deviceConnect, .serviceConnect]))
    }

    @Test func `a policy's name and key text authenticate as SASL PLAIN carries them`() throws {
        let services = V.services()
        #expect(try services.authenticate(policy: "service", key: V.otherKey).keySlot == .secondary)
        for (policy, key) in [("service", V.ownerKey), ("nobody", V.serviceKey), ("service", ""), ("", "")] {
            #expect(throws: SignInRefusal.wrongSignature.error) { try services.authenticate(policy: policy, key: key) }
        }
    }

    @Test func `security 042 changed keys, lost rights and removed policies end what rests on them`() throws {
        let table = V.table()
        let services = V.services(table)
        let primary = try services.authenticate(token: V.v8, dialect: .hub, nowSeconds: V.now)
        let secondary = try services.authenticate(policy: "service", key: V.otherKey)
        var changed = V.policies
        changed[1].primaryKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
        table.replace(with: changed)
        #expect(!services.isStillGood(primary))
        #expect(services.isStillGood(secondary))
        #expect(self.principal(V.v8, .hub, services) == nil)
        changed[1].rights = .registryRead
        table.replace(with: changed)
        #expect(!services.isStillGood(secondary))
        #expect(services.isStillGood(policy: "device", .primary, since: 1))
        table.replace(with: Array(changed.prefix(2)))
        #expect(!services.isStillGood(policy: "device", .primary, since: 1))
    }

    @Test func `a key that was changed and changed back counts as changed, however late somebody asks`() throws {
        let table = V.table()
        let services = V.services(table)
        let before = try services.authenticate(token: V.v8, dialect: .hub, nowSeconds: V.now)
        var other = V.policies
        other[1].primaryKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
        table.replace(with: other)
        table.replace(with: V.policies)
        let after = try services.authenticate(token: V.v8, dialect: .hub, nowSeconds: V.now)
        // A change of something else, after which only the latest change tells nothing.
        var later = V.policies
        later[0].secondaryKey = other[1].primaryKey
        table.replace(with: later)
        #expect(!services.isStillGood(before))
        #expect(services.isStillGood(after))
        later[1].rights = .registryRead
        table.replace(with: later)
        later[1].rights = V.policies[1].rights
        table.replace(with: later)
        #expect(!services.isStillGood(after))
    }
}
