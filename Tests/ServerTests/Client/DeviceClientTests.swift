// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubClient
import MQTT
import NIOCore
import Testing

@Suite struct DeviceClientTests {
    private let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

    private func signIn(_ id: String = "dev1") -> DeviceSignIn {
        DeviceSignIn(hostName: "hub.example.com", deviceID: id, key: self.key)
    }

    @Test func `a device signs in with its user name and a token of its own`() async throws {
        let peer = try await MQTTPeer()
        let device = try await DeviceClient.connect(self.signIn(), to: peer.address)
        let connect = try #require(peer.received.connects.first)
        #expect(connect.clientID == "dev1")
        #expect(connect.username == "hub.example.com/dev1/?api-version=2021-04-12")
        let password = String(buffer: try #require(connect.password))
        #expect(password.hasPrefix("SharedAccessSignature sr=hub.example.com%2Fdevices%2Fdev1&sig="))
        await device.close()
        try await eventually("the DISCONNECT") { peer.received.disconnects == 1 }
    }

    @Test func `a message carries its properties in the topic, the system's first`() async throws {
        let peer = try await MQTTPeer()
        let device = try await DeviceClient.connect(self.signIn(), to: peer.address)
        var message = DeviceMessage(
            body: ByteBuffer(string: "{}"),
            properties: [.init(name: "a b", value: "c&d=é/"), .init(name: "bare", value: nil)]
        )
        message.contentType = "application/json"
        message.contentEncoding = "utf-8"
        try await device.send(message)
        let publish = try #require(peer.received.publishes.first)
        #expect(
            String(buffer: publish.topic) == "devices/dev1/messages/events/"
                + "%24.ct=application%2Fjson&%24.ce=utf-8&a%20b=c%26d%3D%C3%A9%2F&bare"
        )
        #expect(publish.qos == .atLeastOnce && String(buffer: publish.payload) == "{}")
        await device.close()
    }

    @Test func `a refused sign-in is told with its code`() async throws {
        let peer = try await MQTTPeer(.init(connack: .notAuthorized))
        let error = await #expect(throws: HubClientError.self) {
            try await DeviceClient.connect(self.signIn(), to: peer.address)
        }
        #expect(error == .signInRefused(deviceID: "dev1", code: 5))
        #expect(error?.description.contains("roost device show dev1") == true)
    }

    @Test func `no more messages than the window wait for their acknowledgement`() async throws {
        let peer = try await MQTTPeer(.init(acknowledged: 3))
        var limits = DeviceClient.Limits()
        limits.window = 2
        let device = try await DeviceClient.connect(self.signIn(), to: peer.address, limits: limits)
        let results = (0..<10).map { device.enqueue(DeviceMessage(body: ByteBuffer(string: "\($0)"))) }
        for result in results[..<3] {
            try await result.get()
        }
        // Three are acknowledged and two more fill the window; the next ones must not have been sent.
        try await eventually("five messages") { peer.received.publishes.count == 5 }
        #expect(peer.received.publishes.map { String(buffer: $0.payload) } == ["0", "1", "2", "3", "4"])
        await device.close()
        await #expect(throws: HubClientError.self) { try await results[9].get() }
        #expect(peer.received.publishes.count == 5)
    }

    @Test func `a connection that ends fails what waits on it and what comes after`() async throws {
        let peer = try await MQTTPeer(.init(closesOnPublish: true))
        let device = try await DeviceClient.connect(self.signIn(), to: peer.address)
        let message = DeviceMessage(body: ByteBuffer())
        await #expect(throws: HubClientError.closed(during: "the sending of telemetry")) {
            try await device.send(message)
        }
        await #expect(throws: HubClientError.self) { try await device.send(message, delivery: .unacknowledged) }
    }

    @Test func `messages without acknowledgement end with their writing`() async throws {
        let peer = try await MQTTPeer()
        let device = try await DeviceClient.connect(self.signIn(), to: peer.address)
        try await device.send(DeviceMessage(body: ByteBuffer(string: "x")), delivery: .unacknowledged)
        try await eventually("the message") { peer.received.publishes.count == 1 }
        #expect(peer.received.publishes.first?.qos == .atMostOnce)
        await device.close()
    }

    @Test func `nobody listening is told at once`() async throws {
        let peer = try await MQTTPeer()
        let address = peer.address
        try await peer.close()
        let error = await #expect(throws: HubClientError.self) {
            try await DeviceClient.connect(self.signIn(), to: address)
        }
        guard case .unreachable("127.0.0.1", address.mqttPort, _) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }
}
