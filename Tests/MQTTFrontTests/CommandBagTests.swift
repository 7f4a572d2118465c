// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel
import NIOCore
import Testing

@testable import MQTTFront

/// The topic of a command as SDKs take it apart (docs/wire/mqtt.md#commands).
@Suite struct CommandBagTests {
    private func bag(_ message: CommandMessage) -> String {
        CommandBag.text(
            of: Command(
                device: "d1",
                sequenceNumber: 7,
                enqueuedMilliseconds: 0,
                expiresMilliseconds: 3_600_000,
                deliveryCount: 0,
                message: message
            )
        )
    }

    private let to = "%24.to=%2Fdevices%2Fd1%2Fmessages%2FdeviceBound"

    private func message(_ properties: MessageProperty...) -> CommandMessage {
        CommandMessage(to: "/devices/d1/messages/deviceBound", properties: properties, body: ByteBuffer())
    }

    @Test func `mqtt 061 system properties come first, all is encoded but what never needs it, no slash ends it`() {
        var message = self.message(
            MessageProperty(name: "a/b", value: "c d"),
            MessageProperty(name: "x", value: "+&=%")
        )
        message.messageID = "m-1"
        message.correlationID = "c~1"
        message.userID = Array("u 1".utf8)
        message.contentType = "application/json"
        message.contentEncoding = "utf-8"
        message.acknowledgement = .full
        #expect(
            bag(message) == self.to + "&%24.mid=m-1&%24.cid=c~1&%24.uid=u%201&%24.ct=application%2Fjson&%24.ce=utf-8"
                + "&iothub-ack=full&a%2Fb=c%20d&x=%2B%26%3D%25"
        )
    }

    @Test func `mqtt 062 a command with nothing set still says where it goes, as its sender wrote it`() {
        #expect(bag(self.message()) == self.to)
        let lower = CommandMessage(to: "/devices/d1/messages/devicebound", body: ByteBuffer())
        #expect(bag(lower) == "%24.to=%2Fdevices%2Fd1%2Fmessages%2Fdevicebound")
        #expect(bag(CommandMessage(to: "", body: ByteBuffer())) == self.to)
    }

    @Test func `mqtt 063 the expiry has seven digits of a second`() {
        var message = self.message()
        message.expiresMilliseconds = 1_704_067_200_123
        #expect(bag(message) == self.to + "&%24.exp=2024-01-01T00%3A00%3A00.1230000Z")
    }

    @Test func `what is empty is left out, but for empty properties of the sender`() {
        var message = self.message(
            MessageProperty(name: "empty", value: ""),
            MessageProperty(name: "", value: "nameless")
        )
        message.messageID = ""
        message.userID = []
        message.contentType = ""
        #expect(bag(message) == self.to + "&empty=")
    }

    @Test func `a property does not pass for the hub's own`() {
        let message = self.message(
            MessageProperty(name: "$.mid", value: "forged"),
            MessageProperty(name: "iothub-enqueuedtime", value: "forged"),
            MessageProperty(name: "IoTHub-ack", value: "forged"),
            MessageProperty(name: "$version", value: "1"),
            MessageProperty(name: "ünï", value: "é")
        )
        #expect(bag(message) == self.to + "&%24version=1&%C3%BCn%C3%AF=%C3%A9")
    }
}
