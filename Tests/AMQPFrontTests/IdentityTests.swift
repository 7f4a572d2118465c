// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import Hub
import HubModel
import HubTesting
import NIOCore
import Testing

@testable import AMQPFront

@MainActor
@Suite struct IdentityTests {
    private let events = "devices/d1/messages/events"

    private static func plain(_ name: String, _ password: String) -> SASLInit {
        var start = SASLInit(mechanism: "PLAIN")
        start.initialResponse = ByteBuffer(string: "\0\(name)\0\(password)")
        return start
    }

    // MARK: Tokens

    @Test func `amqp 028 a device's link without its token is refused and the connection stays`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        let other = try await client.sender("devices/d2/messages/events")
        #expect(client.error(of: other)?.condition == .unauthorizedAccess)
        #expect(client.error(of: other)?.description?.isEmpty == false)
        let own = try await client.sender(events)
        #expect(try await client.send(DeviceClient.telemetry("x"), on: own) == .accepted)
    }

    @Test(arguments: [
        "amqps://myhub.example.net:5671/devices/d1/messages/events",
        "amqps://myhub.example.net/devices/d1/messages/events",
        "/devices/d1/messages/events", "devices/d1/messages/events", "Devices/d1/Messages/Events",
    ])
    func `amqp 029 all spellings of an address are the same link`(_ address: String) async throws {
        let client = try await DeviceClient.signedIn(try await DeviceHub())
        let link = try await client.sender(address)
        #expect(try await client.send(DeviceClient.telemetry("x"), on: link) == .accepted)
    }

    @Test(arguments: [
        ("a%b", ["a%b", "a%25b"]), ("a+b", ["a+b", "a%2Bb", "a%2bb"]), ("a#b", ["a#b", "a%23b"]),
        ("it's(1)", ["it's(1)", "it%27s%281%29"]),
    ])
    func `amqp 030 ids with special characters work raw and encoded`(_ id: String, _ spellings: [String]) async throws {
        let identity = IdentityID(device: id)
        let hub = try await DeviceHub([identity])
        for spelling in spellings {
            let client = try await DeviceClient(hub)
            #expect(try await client.putToken(hub.token("\(DeviceHub.host)/devices/\(spelling)")) == 200)
            let link = try await client.sender("devices/\(spelling)/messages/events")
            #expect(try await client.send(DeviceClient.telemetry("x"), on: link) == .accepted)
            try await client.disconnect()
        }
        let devices = try hub.storedEvents().map { $0.messageAnnotations?["iothub-connection-device-id"] }
        #expect(devices == spellings.map { _ in .string(id) })
    }

    @Test func `amqp 039 the token's resource decides, not the name`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient(hub)
        // Java names the device where the token is its module's.
        #expect(try await client.putToken(hub.token(of: .m1), name: "\(DeviceHub.host)/devices/d1") == 200)
        let module = try await client.sender("devices/d1/modules/m1/messages/events")
        #expect(try await client.send(DeviceClient.telemetry("x"), on: module) == .accepted)
        let device = try await client.sender(events)
        #expect(client.error(of: device)?.condition == .unauthorizedAccess)
    }

    @Test func `amqp 040 a wrong signature, a foreign audience and an expired token give 401 and no access`()
        async throws
    {
        let hub = try await DeviceHub()
        let client = try await DeviceClient(hub)
        #expect(try await client.putToken(hub.token("\(DeviceHub.host)/devices/d1", key: DeviceHub.policyKey)) == 401)
        #expect(try await client.putToken(hub.token("other.example.net/devices/d1")) == 401)
        #expect(try await client.putToken(hub.token(of: .d1, expiresIn: -600)) == 401)
        #expect(try await client.putToken(hub.token(of: IdentityID(device: "nobody"))) == 401)
        #expect(try await client.putToken("SharedAccessSignature nonsense") == 400)
        let link = try await client.sender(events)
        #expect(client.error(of: link)?.condition == .unauthorizedAccess)
        #expect(client.isOpen)
    }

    @Test(arguments: ["myhub.example.net", "myhub.example.net/devices", "myhub.example.net/devices/d1"])
    func `security 031 a policy's token signs in the devices that its audience covers`(_ audience: String) async throws
    {
        let hub = try await DeviceHub()
        let client = try await DeviceClient(hub)
        let token = hub.token(audience, key: DeviceHub.policyKey, policy: "device")
        #expect(try await client.putToken(token) == 200)
        let own = try await client.sender(events)
        #expect(try await client.send(DeviceClient.telemetry("x"), on: own) == .accepted)
        let other = try await client.sender("devices/d2/messages/events")
        #expect((client.error(of: other) == nil) == !audience.hasSuffix("d1"))
        let unknown = try await client.sender("devices/nobody/messages/events")
        #expect(client.error(of: unknown)?.condition == .unauthorizedAccess)
    }

    @Test func `a service's token opens no device links`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient(hub)
        #expect(
            try await client.putToken(hub.token(DeviceHub.host, key: DeviceHub.policyKey, policy: "service")) == 200
        )
        let link = try await client.sender(events)
        #expect(client.error(of: link)?.condition == .unauthorizedAccess)
    }

    @Test func `a link that follows its token without waiting finds its identity`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient(hub)
        let receiver = try await client.receiver("$cbs")
        let claims = try await client.sender("$cbs")
        _ = client.queue(FrontClient.putToken(hub.token(of: .d1)).encoded, on: claims)
        let link = try await client.sender(events)
        #expect(client.error(of: link) == nil)
        #expect(try await client.send(DeviceClient.telemetry("x"), on: link) == .accepted)
        #expect(client.deliveries(receiver).count == 1)
    }

    // MARK: Time and revocation

    @Test func `amqp 041 a second token extends the first, and telemetry goes on`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient(hub)
        try await client.signIn(.d1, expiresIn: 600)
        let link = try await client.sender(events)
        try await client.signIn(.d1, expiresIn: 7200)
        try await client.advance(seconds: 3600)
        #expect(try await client.send(DeviceClient.telemetry("x"), on: link) == .accepted)
    }

    @Test func `amqp 042 without renewal an identity's links end, and others go on`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient(hub)
        try await client.signIn(.d1, expiresIn: 600)
        try await client.signIn(.d2, expiresIn: 7200)
        let first = try await client.sender(events)
        let second = try await client.sender("devices/d2/messages/events")
        try await client.advance(seconds: 1000)
        #expect(try await client.endOf(first) == .unauthorizedAccess)
        #expect(try await client.send(DeviceClient.telemetry("x"), on: second) == .accepted)
        try await client.advance(seconds: 7200)
        #expect(try await client.endOf(second) == .unauthorizedAccess)
        // The last one takes the connection with it.
        let close = client.frames.compactMap { if case .close(let close) = $0 { close.error?.condition } else { nil } }
        #expect(close == [.connectionForced])
    }

    @Test func `amqp 043 fifty devices share a connection, and disabling one detaches its links only`() async throws {
        let ids = (0..<50).map { IdentityID(device: "device-\($0)") }
        let hub = try await DeviceHub(ids)
        let client = try await DeviceClient(hub)
        var links: [Link] = []
        for id in ids {
            try await client.signIn(id)
            links.append(try await client.sender("devices/\(id.device)/messages/events"))
        }
        try await hub.disable(ids[7])
        #expect(try await client.endOf(links[7]) == .unauthorizedAccess)
        let again = try await client.sender("devices/device-7/messages/events")
        #expect(client.error(of: again)?.condition == .unauthorizedAccess)
        for (index, link) in links.enumerated() where index != 7 {
            #expect(try await client.send(DeviceClient.telemetry("\(index)"), on: link) == .accepted)
        }
        #expect(client.isOpen)
    }

    @Test func `a deleted device and a changed policy lose their links at once`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        let gateway = try await DeviceClient(hub)
        let token = hub.token(DeviceHub.host, key: DeviceHub.policyKey, policy: "device")
        #expect(try await gateway.putToken(token) == 200)
        let first = try await client.sender(events)
        let second = try await gateway.sender("devices/d2/messages/events")
        try await hub.registry.delete(.d1, ifMatch: nil)
        #expect(try await client.endOf(first) == .notFound)
        hub.policies.replace(with: InProcessHub.policies(deviceKey: DeviceHub.key))
        hub.hub.directory.recheckPolicies { hub.hub.services.isStillGood(policy: $0, $1, since: $2) }
        #expect(try await gateway.endOf(second) == .unauthorizedAccess)
    }

    @Test func `another connection of the device takes over, and its neighbours notice nothing`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        try await client.signIn(.d2)
        let first = try await client.sender(events)
        let neighbour = try await client.sender("devices/d2/messages/events")
        let newer = try await DeviceClient.signedIn(hub)
        let second = try await newer.sender(events)
        #expect(try await client.endOf(first) == .linkStolen)
        #expect(try await newer.send(DeviceClient.telemetry("x"), on: second) == .accepted)
        #expect(try await client.send(DeviceClient.telemetry("x"), on: neighbour) == .accepted)
        // The proof is still there, and takes it back.
        let third = try await client.sender(events)
        #expect(try await newer.endOf(second) == .linkStolen)
        #expect(try await client.send(DeviceClient.telemetry("x"), on: third) == .accepted)
    }

    @Test func `an identity counts as connected while it has links`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        #expect(hub.hub.directory.connectedCount == 0)
        let link = try await client.sender(events)
        #expect(hub.hub.directory.presence(of: .d1)?.isConnected == true)
        client.engine.detach(link)
        try await client.wait { hub.hub.directory.presence(of: .d1)?.isConnected == false }
        let again = try await client.sender(events)
        #expect(client.error(of: again) == nil)
        try await client.disconnect()
        #expect(hub.hub.directory.connectedCount == 0)
    }

    // MARK: Sessions and links

    @Test func `amqp 031 amqp 032 two sessions use one link name, and a name may be used again`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        try await client.signIn(.d2)
        let (one, two) = (try await client.begin(), try await client.begin())
        let first = try await client.sender(events, name: "TelemetrySenderLink", on: one)
        let second = try await client.sender("devices/d2/messages/events", name: "TelemetrySenderLink", on: two)
        #expect(try await client.send(DeviceClient.telemetry("a"), on: first) == .accepted)
        #expect(try await client.send(DeviceClient.telemetry("b"), on: second) == .accepted)
        client.engine.detach(first)
        try await client.wait { first.state == .detached }
        let again = try await client.sender(events, name: "TelemetrySenderLink", on: one)
        #expect(try await client.send(DeviceClient.telemetry("c"), on: again) == .accepted)
    }

    @Test(arguments: [
        ("devices/d1/messages/devicebound", true), ("devices/d1/messages/events", false),
    ])
    func `a link in the wrong direction is refused`(_ address: String, _ sends: Bool) async throws {
        let client = try await DeviceClient.signedIn(try await DeviceHub())
        let link = sends ? try await client.sender(address) : try await client.receiver(address)
        #expect(client.error(of: link)?.condition == .notAllowed)
    }

    @Test(arguments: ["devices/d1/modules/m1/messages/events", "devices/d1/modules/m1/messages/devicebound"])
    func `a module's inputs may be opened, and nothing comes`(_ address: String) async throws {
        let client = try await DeviceClient.signedIn(try await DeviceHub(), .m1)
        let link = try await client.receiver(address)
        #expect(link.state == .attached)
        #expect(client.deliveries(link).isEmpty)
    }

    // MARK: SASL

    @Test(arguments: ["d1@sas.myhub", "d1@sas.MYHUB", "d1@myhub", "%64%31@sas.myhub"])
    func `amqp 006 PLAIN of a device opens that device's links only`(_ name: String) async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient(hub, sasl: Self.plain(name, hub.token(of: .d1)))
        try await client.wait { client.engine.isOpen }
        let link = try await client.sender(events)
        #expect(try await client.send(DeviceClient.telemetry("x"), on: link) == .accepted)
        let other = try await client.sender("devices/d2/messages/events")
        #expect(client.error(of: other)?.condition == .unauthorizedAccess)
    }

    @Test func `amqp 006 PLAIN of a module opens that module's links`() async throws {
        let hub = try await DeviceHub()
        let start = Self.plain("d1/modules/m1@sas.myhub", hub.token(of: .m1))
        let client = try await DeviceClient(hub, sasl: start)
        let link = try await client.sender("devices/d1/modules/m1/messages/events")
        #expect(try await client.send(DeviceClient.telemetry("x"), on: link) == .accepted)
    }

    @Test(arguments: ["d2@sas.myhub", "nobody@sas.myhub", "d1@sas.otherhub", "d1/m1@sas.myhub"])
    func `amqp 008 PLAIN of a device with another's token ends with code 1 and a close`(_ name: String) async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient(hub, sasl: Self.plain(name, hub.token(of: .d1)))
        try await client.wait { !client.isOpen }
        let outcomes = client.events.compactMap { if case .saslOutcome(let code) = $0 { code } else { nil } }
        #expect(outcomes == [.auth])
    }

    @Test func `PLAIN's end is the connection's end`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient(hub, sasl: Self.plain("d1@sas.myhub", hub.token(of: .d1)))
        let link = try await client.sender(events)
        try await hub.disable(.d1)
        #expect(try await client.endOf(link) == .unauthorizedAccess)
        try await client.wait { !client.isOpen }
    }

    @Test func `EXTERNAL needs a client certificate`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient(hub, sasl: SASLInit(mechanism: "EXTERNAL"))
        try await client.wait { !client.isOpen }
        let presenting = try await DeviceHub(certificates: [[1, 2, 3]])
        let other = try await DeviceClient(presenting, sasl: SASLInit(mechanism: "EXTERNAL"))
        let link = try await other.sender(events)
        #expect(other.error(of: link)?.condition == .unauthorizedAccess)
        #expect(other.isOpen)
    }
}
