// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Hub
import HubModel
import NIOCore
import NIOEmbedded
import Testing

struct MethodsTests {
    private let device = IdentityID(device: "d")

    @Test func `a device's answer reaches the caller as it was sent`() async throws {
        let hub = try TwinHub()
        try await hub.create(self.device)
        let peer = try await hub.connect(self.device)
        try await peer.takeMethods()
        async let result = hub.hub.methods.invoke(self.device, self.request("reboot", #"{"delay": 5}"#))
        let call = try await peer.nextCall()
        #expect(call.name == "reboot")
        #expect(String(buffer: call.payload) == #"{"delay": 5}"#)
        let wasWaitedFor = try await peer.answer(call, MethodResult(status: -7, payload: ByteBuffer(string: "[ 1 ]")))
        #expect(wasWaitedFor)
        #expect(try await result == MethodResult(status: -7, payload: ByteBuffer(string: "[ 1 ]")))
        // A second answer is late.
        #expect(try await peer.answer(call, MethodResult(status: 200, payload: ByteBuffer())) == false)
    }

    @Test func `a call is matched by its UUID too`() async throws {
        let hub = try TwinHub()
        try await hub.create(self.device)
        let peer = try await hub.connect(self.device)
        try await peer.takeMethods()
        async let result = hub.hub.methods.invoke(self.device, self.request("m"))
        let call = try await peer.nextCall()
        let uuid = call.id.uuid
        #expect(uuid[6] >> 4 == 4)
        #expect(uuid[8] >> 6 == 0b10)
        let isKnown = try await peer.run { session in
            let isKnown = session.respond(toUUID: uuid, MethodResult(status: 1, payload: ByteBuffer()))
            return peer.loop.makeSucceededFuture(isKnown)
        }
        #expect(isKnown)
        #expect(try await result.status == 1)
    }

    @Test func `who is unknown, offline or takes no methods is told apart`() async throws {
        let hub = try TwinHub()
        await self.expect(.deviceNotFound, hub, self.request("m"))
        try await hub.create(self.device)
        await self.expect(.deviceNotOnline, hub, self.request("m"))
        let peer = try await hub.connect(self.device)
        await self.expect(.deviceNotOnline, hub, self.request("m"))
        try await peer.takeMethods()
        try await peer.takeMethods(false)
        await self.expect(.deviceNotOnline, hub, self.request("m"))
    }

    @Test func `a call waits for a device that is to connect`() async throws {
        let hub = try TwinHub()
        try await hub.create(self.device)
        async let result = hub.hub.methods.invoke(self.device, self.request("m", connectTimeout: 300))
        let peer = try await hub.connect(self.device)
        try await peer.takeMethods()
        _ = try await peer.answer(peer.nextCall(), MethodResult(status: 200, payload: ByteBuffer()))
        #expect(try await result.status == 200)
    }

    @Test func `the end of the connection ends its calls`() async throws {
        let hub = try TwinHub()
        try await hub.create(self.device)
        let peer = try await hub.connect(self.device)
        try await peer.takeMethods()
        async let ended: Void = self.expect(.deviceConnectionClosedRemotely, hub, self.request("m"))
        _ = try await peer.nextCall()
        try await peer.run { session in
            session.close()
            return peer.loop.makeSucceededVoidFuture()
        }
        await ended
    }

    @Test func `another connection can't answer`() async throws {
        let hub = try TwinHub()
        let other = IdentityID(device: "other")
        try await hub.create(self.device, other)
        let peer = try await hub.connect(self.device)
        let stranger = try await hub.connect(other)
        try await peer.takeMethods()
        async let result = hub.hub.methods.invoke(self.device, self.request("m"))
        let call = try await peer.nextCall()
        #expect(try await stranger.answer(call, MethodResult(status: 666, payload: ByteBuffer())) == false)
        #expect(try await peer.answer(call, MethodResult(status: 200, payload: ByteBuffer())))
        #expect(try await result.status == 200)
    }

    @Test func `an answer that is no JSON is an error`() async throws {
        let hub = try TwinHub()
        try await hub.create(self.device)
        let peer = try await hub.connect(self.device)
        try await peer.takeMethods()
        async let refused: Void = self.expect(.invalidResponseWhileProxying, hub, self.request("m"))
        let call = try await peer.nextCall()
        _ = try await peer.answer(call, MethodResult(status: 200, payload: ByteBuffer(string: "{nope")))
        await refused
    }

    @Test func `no more calls wait for one device than the limit allows`() async throws {
        var limits = Limits()
        limits.methods.inFlightPerIdentityMax = 1
        let hub = try TwinHub(limits: limits)
        try await hub.create(self.device)
        let peer = try await hub.connect(self.device)
        try await peer.takeMethods()
        async let first = hub.hub.methods.invoke(self.device, self.request("m"))
        let call = try await peer.nextCall()
        await self.expect(.deviceMaximumInflightMethodExceeded, hub, self.request("m"))
        _ = try await peer.answer(call, MethodResult(status: 200, payload: ByteBuffer()))
        #expect(try await first.status == 200)
    }

    @Test(.timeLimit(.minutes(5)))
    func `each call ends when its own time is over`() async throws {
        let hub = try TwinHub()
        try await hub.create(self.device)
        let loop = NIOAsyncTestingEventLoop()
        let peer = try await hub.connect(self.device, on: loop)
        try await peer.takeMethods()
        async let long: Void = self.expect(.gatewayTimeout, hub, self.request("m", responseTimeout: 20))
        _ = try await peer.nextCall()
        async let short: Void = self.expect(.gatewayTimeout, hub, self.request("m", responseTimeout: 5))
        _ = try await peer.nextCall()
        async let middle: Void = self.expect(.gatewayTimeout, hub, self.request("m", responseTimeout: 10))
        _ = try await peer.nextCall()
        async let answered = hub.hub.methods.invoke(self.device, self.request("m", responseTimeout: 21))
        let call = try await peer.nextCall()
        await loop.advanceTime(by: .seconds(5))
        await short
        await loop.advanceTime(by: .seconds(5))
        await middle
        await loop.advanceTime(by: .seconds(10))
        await long
        #expect(try await peer.answer(call, MethodResult(status: 200, payload: ByteBuffer())))
        #expect(try await answered.status == 200)
        // Whatever looked at the calls until now looks no more.
        await loop.advanceTime(by: .seconds(300))
        async let later: Void = self.expect(.gatewayTimeout, hub, self.request("m", responseTimeout: 5))
        _ = try await peer.nextCall()
        await loop.advanceTime(by: .seconds(5))
        await later
        try await peer.close()
    }

    @Test(arguments: ["a/b", "/", "?", "a?$rid=1", "#", "a+", "a\u{0}b", "a\nb", "\u{7f}"])
    func `a name that no topic can carry is refused`(name: String) async throws {
        await self.expect(.argumentInvalid, try TwinHub(), self.request(name))
    }

    @Test func `a name or a payload that is too long is refused`() async throws {
        let hub = try TwinHub()
        await self.expect(.argumentInvalid, hub, self.request(""))
        await self.expect(.argumentInvalid, hub, self.request(String(repeating: "n", count: 101)))
        await self.expect(.messageTooLarge, hub, self.request("m", String(repeating: "1", count: 131_073)))
    }

    private func request(
        _ name: String,
        _ payload: String = "",
        connectTimeout: Int = 0,
        responseTimeout: Int = 300
    ) -> MethodRequest {
        MethodRequest(
            name: name,
            payload: ByteBuffer(string: payload),
            responseTimeoutSeconds: responseTimeout,
            connectTimeoutSeconds: connectTimeout
        )
    }

    private func expect(_ code: HubErrorCode, _ hub: TwinHub, _ request: MethodRequest) async {
        do {
            _ = try await hub.hub.methods.invoke(self.device, request)
            Issue.record("the call succeeded")
        } catch {
            #expect((error as? HubError)?.code == code)
        }
    }
}
