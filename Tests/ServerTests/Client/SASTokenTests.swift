// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubClient
import Testing

/// The published vectors of tokens: what this client makes must be, byte for byte, what SDKs make of the same key.
@Suite struct SASTokenTests {
    private let deviceKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    private let policyKey = "YGFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6e3x9fn8="

    @Test func `a device's token signs the encoded resource with the decoded key`() throws {
        let token = try SASToken.make(
            resource: "hub1.example.com/devices/dev1",
            key: self.deviceKey,
            expiresAt: 4_102_444_800
        )
        #expect(
            token == "SharedAccessSignature sr=hub1.example.com%2Fdevices%2Fdev1"
                + "&sig=KH7eVz1MOUV4A%2BnmuRpKhLCMqntI0rj6bTjSPJi5t9c%3D&se=4102444800"
        )
    }

    @Test func `odd characters of a device id are encoded once`() throws {
        let token = try SASToken.make(
            resource: "hub1.example.com/devices/a:c@d#e",
            key: self.deviceKey,
            expiresAt: 4_102_444_800
        )
        #expect(token.contains("sr=hub1.example.com%2Fdevices%2Fa%3Ac%40d%23e&"))
        #expect(token.contains("sig=%2FZMtLYuG%2Fobkpp4nZyJqXHb97kgY417tJvPL6lD5%2BV0%3D"))
    }

    @Test func `a policy's token carries its name`() throws {
        let token = try SASToken.make(
            resource: "hub1.example.com/devices",
            key: self.policyKey,
            policy: "device",
            expiresAt: 4_102_444_800
        )
        #expect(token.hasSuffix("&se=4102444800&skn=device"))
        #expect(token.contains("sig=LOCkb3YQ8RwtvxHEIzi954ehekbrfCYDqPMN0WrWjL4%3D"))
    }

    @Test func `on the Event Hubs endpoint the key is its own text`() throws {
        let token = try SASToken.make(
            resource: "sb://eh.example.com/iothub-ehub-1",
            key: self.policyKey,
            policy: "iothubowner",
            expiresAt: 4_102_444_800,
            dialect: .eventHubs
        )
        #expect(
            token == "SharedAccessSignature sr=sb%3A%2F%2Feh.example.com%2Fiothub-ehub-1"
                + "&sig=vXAfzmdwJSp4RpS54xSkTJzKvwHvSfDVVqZPJ8nGbF8%3D&se=4102444800&skn=iothubowner"
        )
    }

    @Test func `a key that is not base64 is refused`() {
        #expect(throws: HubClientError.badKey) {
            try SASToken.make(resource: "h", key: "not base64!", expiresAt: 1)
        }
    }
}
