// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import AMQPFront
import Hub
import HubModel
import NIOCore
import NIOEmbedded
import Testing

@Suite struct AccessTests {
    @Test(arguments: ["myhub", "MYHUB", "MyHub", "other"])
    func `event_hubs 002 the entity is found in any letter case and by each short name`(_ entity: String) throws {
        let client = try FrontFixture().reader("sb://myhub.example.net/\(entity)")
        let link = try client.attach(client.readerAttach("\(entity)/ConsumerGroups/$Default/Partitions/0"))
        #expect(link.state == .attached)
    }

    @Test func `event_hubs 003 a policy without ServiceConnect reads nothing`() throws {
        let fixture = FrontFixture()
        let client = try fixture.client()
        #expect(try client.putToken(fixture.token(policy: "registryRead")) == 401)
        #expect(client.error(of: try client.read())?.condition == .unauthorizedAccess)
        let plain = try fixture.client(
            SASLInit(
                mechanism: "PLAIN",
                initialResponse: PlainCredentials(
                    name: "registryRead",
                    password: FrontFixture.keys["registryRead"]?[0] ?? ""
                )
                .initialResponse
            )
        )
        #expect(plain.error(of: try plain.read())?.condition == .unauthorizedAccess)
    }

    @Test func `event_hubs 004 both keys work, and a regenerated one fails from then on`() throws {
        let fixture = FrontFixture()
        let client = try fixture.client()
        #expect(try client.putToken(fixture.token(slot: 0)) == 200)
        #expect(try client.putToken(fixture.token(slot: 1)) == 200)
        let old = fixture.token(slot: 0)
        var keys = FrontFixture.keys
        keys["service"]?[0] = "bmV3LXByaW1hcnkta2V5LTAxMjM0NTY3ODlhYmNkZWY="
        fixture.policies.replace(with: FrontFixture.policies(keys))
        #expect(try client.putToken(old) == 401)
        #expect(try client.putToken(fixture.token(slot: 1)) == 200)
    }

    @Test func `a changed key detaches the links that rest on it at once`() throws {
        let fixture = FrontFixture()
        let client = try fixture.client()
        #expect(try client.putToken(fixture.token(slot: 0)) == 200)
        let link = try client.read()
        var keys = FrontFixture.keys
        keys["service"]?[0] = "bmV3LXByaW1hcnkta2V5LTAxMjM0NTY3ODlhYmNkZWY="
        fixture.policies.replace(with: FrontFixture.policies(keys))
        fixture.hub.stores.bus.broadcast(.policiesChanged)
        client.run()
        #expect(client.error(of: link)?.condition == .unauthorizedAccess)
        #expect(fixture.hub.readers.count == 0)
    }

    @Test func `event_hubs 005 both dialects are accepted and a flipped character is not`() throws {
        let fixture = FrontFixture()
        let client = try fixture.client()
        #expect(try client.putToken(fixture.token()) == 200)
        #expect(try client.putToken(fixture.token(hubDialect: true)) == 200)
        let good = fixture.token()
        let parts = good.split(separator: "&sig=", maxSplits: 1)
        let flipped = parts[1].first == "A" ? "B" : "A"
        let forged = "\(parts[0])&sig=\(flipped)\(parts[1].dropFirst())"
        #expect(try client.putToken(forged) == 401)
    }

    @Test func `event_hubs 006 event_hubs 007 lower-case escapes verify and a past expiry does not`() throws {
        let fixture = FrontFixture()
        let client = try fixture.client()
        let lower = fixture.token(lowerCase: true)
        #expect(lower.contains("%3a%2f%2f"))
        #expect(try client.putToken(lower) == 200)
        #expect(try client.putToken(fixture.token(expiresIn: -3600)) == 401)
    }

    @Test(arguments: [
        "sb://myhub.example.net/myhub/consumergroups/$Default",
        "amqps://myhub.example.net/myhub/consumergroups/$default",
        "amqp://myhub.example.net:5672/myhub", "myhub.example.net/myhub", "sb://myhub.example.net",
        "sb://myhub.example.net:5671/",
    ])
    func `event_hubs 008 event_hubs 009 audiences of every form open what lies below them`(_ audience: String) throws {
        let client = try FrontFixture().reader(audience)
        #expect(try client.read().state == .attached)
    }

    @Test func `event_hubs 010 a token for one partition does not open another`() throws {
        let client = try FrontFixture().reader("sb://myhub.example.net/myhub/ConsumerGroups/$Default/Partitions/0")
        #expect(try client.read(0).state == .attached)
        #expect(client.error(of: try client.read(1))?.condition == .unauthorizedAccess)
        #expect(client.error(of: try client.read(0, group: "second"))?.condition == .unauthorizedAccess)
    }

    @Test func `event_hubs 010 a token for one group does not open another that begins alike`() throws {
        let fixture = FrontFixture(groups: ["second", "second2"])
        let client = try fixture.reader("sb://myhub.example.net/myhub/ConsumerGroups/second")
        #expect(try client.read(0, group: "second").state == .attached)
        #expect(client.error(of: try client.read(0, group: "second2"))?.condition == .unauthorizedAccess)
    }

    @Test(arguments: ["ANONYMOUS", "MSSBCBS", "PLAIN", "PLAIN with token", "no SASL"])
    func `event_hubs 011 every mechanism leads to a reader`(_ mechanism: String) throws {
        let fixture = FrontFixture()
        try fixture.publish(["hello"], device: "d")
        let client: FrontClient
        switch mechanism {
        case "PLAIN":
            let key = FrontFixture.keys["service"]?[0] ?? ""
            let plain = PlainCredentials(name: "service", password: key)
            client = try fixture.client(SASLInit(mechanism: mechanism, initialResponse: plain.initialResponse))
        case "PLAIN with token":
            let plain = PlainCredentials(
                name: "service@sas.root.MYHUB",
                password: fixture.token("myhub.example.net", hubDialect: true)
            )
            client = try fixture.client(SASLInit(mechanism: "PLAIN", initialResponse: plain.initialResponse))
        case "no SASL":
            client = try fixture.client(nil)
            #expect(try client.putToken(fixture.token()) == 200)
        default:
            client = try fixture.client(SASLInit(mechanism: mechanism))
            #expect(try client.putToken(fixture.token()) == 200)
        }
        let link = try client.read(0)
        #expect(try client.bodies(link) == ["hello"])
    }

    @Test(arguments: [
        ("service", "wrong"), ("nobody", "key"),
        ("service@sas.root.myhub", "SharedAccessSignature sr=x&sig=y&se=1&skn=service"),
        ("service@sas.root.nope", ""),
    ])
    func `event_hubs 012 amqp 008 wrong PLAIN credentials give code 1 and the end`(
        _ name: String,
        _ password: String
    ) throws {
        let fixture = FrontFixture()
        let plain = PlainCredentials(name: name, password: password)
        let client = try fixture.client(SASLInit(mechanism: "PLAIN", initialResponse: plain.initialResponse))
        guard case .saslOutcome(.auth)? = client.events.last else {
            Issue.record("not refused")
            return
        }
        #expect(!client.channel.isActive)
    }

    @Test func `event_hubs 013 without a token links are refused and all else goes on`() throws {
        let fixture = FrontFixture()
        let client = try fixture.client()
        let refused = try client.read()
        #expect(client.error(of: refused)?.condition == .unauthorizedAccess)
        #expect(client.error(of: refused)?.description?.contains("'Listen' claim(s) are required") == true)
        #expect(try client.session().state == .active)
        #expect(try client.putToken(fixture.token()) == 200)
        #expect(try client.read().state == .attached)
    }

    @Test func `event_hubs 014 a token that ends detaches its links, unless it was renewed`() throws {
        let fixture = FrontFixture()
        let renewing = try fixture.client()
        let forgetting = try fixture.client()
        #expect(try renewing.putToken(fixture.token(expiresIn: 60)) == 200)
        #expect(try forgetting.putToken(fixture.token(expiresIn: 60)) == 200)
        let (kept, lost) = (try renewing.read(0), try forgetting.read(1))
        #expect(try renewing.putToken(fixture.token(expiresIn: 7200)) == 200)
        let skew = fixture.hub.limits.clockSkewSeconds
        // To the last second in which the token counts.
        for _ in 0..<(skew / 10 + 6) { fixture.advance(seconds: 10) }
        renewing.run()
        forgetting.run()
        #expect(renewing.error(of: kept) == nil)
        #expect(forgetting.error(of: lost) == nil)
        for _ in 0..<6 { fixture.advance(seconds: 10) }
        forgetting.run()
        #expect(forgetting.error(of: lost)?.condition == .unauthorizedAccess)
        #expect(renewing.error(of: kept) == nil)
        #expect(forgetting.engine.isOpen)
    }

    @Test func `event_hubs 059 producers are refused`() throws {
        let client = try FrontFixture().reader()
        for address in ["myhub", "myhub/Partitions/0", "amqps://myhub.example.net/myhub/Publishers/p"] {
            var attach = Attach(name: client.nextName(), handle: 0, role: .sender)
            attach.target = Target(address: address)
            let link = try client.attach(attach)
            #expect(client.error(of: link)?.condition == .unauthorizedAccess)
            #expect(client.error(of: link)?.description?.contains("'Send'") == true)
        }
    }
}
