// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel
import NIOCore
import NIOEmbedded
import Testing

@testable import Hub

struct DirectoryTests {
    private final class Connection: DeviceConnection {
        var deliveries: [Delivery] = []

        func deliver(_ delivery: Delivery) {
            deliveries.append(delivery)
        }
    }

    private final class Peer {
        let connection = Connection()
        let link: DeviceLink

        init(_ loop: EmbeddedEventLoop) {
            link = DeviceLink(connection, eventLoop: loop)
        }
    }

    private let loop = EmbeddedEventLoop()
    private let directory = Directory(clock: HubClock { 42 })

    private func identity(
        _ device: String,
        module: String? = nil,
        proof: DeviceProof = .identityKey(.primary)
    ) -> AuthenticatedIdentity {
        AuthenticatedIdentity(
            id: IdentityID(device: device, module: module),
            generationID: "1",
            proof: proof,
            expiresAtSeconds: nil
        )
    }

    private func connect(_ identity: AuthenticatedIdentity) throws -> (Peer, UInt64) {
        let peer = Peer(loop)
        let ticket = directory.beginSignIn(identity.id)
        guard case .registered(let number) = directory.register(identity, link: peer.link, ticket: ticket) else {
            throw HubError(.internalError, "The registration is stale.")
        }
        return (peer, number)
    }

    @Test func `security 043 a second connection of an identity ends the first and no other`() throws {
        let (first, firstNumber) = try connect(identity("a"))
        let (other, _) = try connect(identity("b"))
        let (second, _) = try connect(identity("a"))
        loop.run()
        #expect(first.connection.deliveries == [.disconnect(.takenOver)])
        #expect(second.connection.deliveries.isEmpty)
        #expect(other.connection.deliveries.isEmpty)

        directory.remove(IdentityID(device: "a"), connectionNumber: firstNumber)
        #expect(directory.link(of: IdentityID(device: "a")) === second.link)
        #expect(directory.presence(of: IdentityID(device: "a"))?.isConnected == true)
    }

    @Test func `a module does not end its device's connection or a sibling's`() throws {
        let (device, _) = try connect(identity("a"))
        let (module, _) = try connect(identity("a", module: "m"))
        _ = try connect(identity("a", module: "n"))
        loop.run()
        #expect(device.connection.deliveries.isEmpty)
        #expect(module.connection.deliveries.isEmpty)
        #expect(directory.connectedCount == 3)
    }

    @Test func `revoking a device ends its connection and those of its modules`() throws {
        let (device, _) = try connect(identity("a"))
        let (module, _) = try connect(identity("a", module: "m"))
        let (other, _) = try connect(identity("ab"))
        directory.revoke(IdentityID(device: "a"), keeping: [])
        loop.run()
        #expect(device.connection.deliveries == [.disconnect(.revoked)])
        #expect(module.connection.deliveries == [.disconnect(.revoked)])
        #expect(other.connection.deliveries.isEmpty)
    }

    @Test(arguments: [KeySlot.primary, .secondary])
    func `security 040 a change of the primary key keeps connections that rest on the secondary`(
        slot: KeySlot
    ) throws {
        let (peer, _) = try connect(identity("a", proof: .identityKey(slot)))
        let (module, _) = try connect(identity("a", module: "m", proof: .identityKey(.primary)))
        directory.revoke(IdentityID(device: "a"), keeping: [.secondary])
        loop.run()
        #expect(peer.connection.deliveries == (slot == .primary ? [.disconnect(.revoked)] : []))
        #expect(module.connection.deliveries.isEmpty)
    }

    @Test func `security 040 a change of a device's key keeps a connection that rests on a policy's key`() throws {
        let (peer, _) = try connect(identity("a", proof: .policyKey(policy: "device", .primary)))
        directory.revoke(IdentityID(device: "a"), keeping: [.secondary])
        loop.run()
        #expect(peer.connection.deliveries.isEmpty)
        directory.revoke(IdentityID(device: "a"), keeping: [])
        loop.run()
        #expect(peer.connection.deliveries == [.disconnect(.revoked)])
    }

    @Test func `a sign-in that was authenticated before a revocation is not registered after it`() {
        let ticket = directory.beginSignIn(IdentityID(device: "a"))
        directory.revoke(IdentityID(device: "a"), keeping: [])
        let registration = directory.register(identity("a"), link: Peer(loop).link, ticket: ticket)
        guard case .stale = registration else {
            Issue.record("The registration was taken.")
            return
        }
        #expect(directory.connectedCount == 0)
    }

    @Test func `a policy that lost its key ends the connections that rest on it`() throws {
        let (byPolicy, _) = try connect(identity("a", proof: .policyKey(policy: "device", .primary)))
        let (byOwnKey, _) = try connect(identity("b"))
        directory.recheckPolicies { policy, slot, _ in policy != "device" || slot != .primary }
        loop.run()
        #expect(byPolicy.connection.deliveries == [.disconnect(.revoked)])
        #expect(byOwnKey.connection.deliveries.isEmpty)
    }

    @Test func `presence follows the connection`() throws {
        let id = IdentityID(device: "a")
        #expect(directory.presence(of: id) == nil)
        let (_, number) = try connect(identity("a"))
        let here = Presence(isConnected: true, changedMilliseconds: 42, lastActivityMilliseconds: 42)
        #expect(directory.presence(of: id) == here)
        directory.remove(id, connectionNumber: number)
        let gone = Presence(isConnected: false, changedMilliseconds: 42, lastActivityMilliseconds: 42)
        #expect(directory.presence(of: id) == gone)
    }

    @Test func `of a deleted device and its modules nothing is remembered, of others all`() throws {
        let ids = [IdentityID(device: "a"), IdentityID(device: "a", module: "m"), IdentityID(device: "b")]
        let (device, number) = try connect(identity("a"))
        let (module, moduleNumber) = try connect(identity("a", module: "m"))
        let (other, _) = try connect(identity("b"))
        directory.forget(ids[0])
        loop.run()
        #expect(device.connection.deliveries == [.disconnect(.deleted)])
        #expect(module.connection.deliveries == [.disconnect(.deleted)])
        #expect(other.connection.deliveries.isEmpty)
        // The connections end after the deletion and must not bring anything back.
        directory.remove(ids[0], connectionNumber: number)
        directory.remove(ids[1], connectionNumber: moduleNumber)
        #expect(ids.map { directory.presence(of: $0)?.isConnected } == [nil, nil, true])
        #expect(directory.connectedCount == 1)
        #expect(directory.connectedDeviceCount == 1)
        _ = try connect(identity("b", module: "m"))
        #expect(directory.connectedCount == 2)
        #expect(directory.connectedDeviceCount == 1)
    }

    @Test func `deleting a module forgets the module and not its device`() throws {
        let module = IdentityID(device: "a", module: "m")
        let (device, _) = try connect(identity("a"))
        _ = try connect(identity("a", module: "m"))
        directory.forget(module)
        loop.run()
        #expect(device.connection.deliveries.isEmpty)
        #expect(directory.presence(of: module) == nil)
        #expect(directory.presence(of: IdentityID(device: "a"))?.isConnected == true)
    }

    @Test func `an identity made anew has a presence of its own while the old connection still ends`() throws {
        let id = IdentityID(device: "a")
        let (_, old) = try connect(identity("a"))
        directory.forget(id)
        let (_, new) = try connect(identity("a"))
        directory.remove(id, connectionNumber: old)
        #expect(directory.presence(of: id)?.isConnected == true)
        directory.remove(id, connectionNumber: new)
        #expect(directory.presence(of: id)?.isConnected == false)
    }
}
