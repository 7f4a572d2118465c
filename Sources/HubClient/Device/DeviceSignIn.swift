// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import MQTT
public import NIOCore

/// What a device signs in with over MQTT.
public struct DeviceSignIn: Sendable {
    /// The version of the API that this client names.
    public static let apiVersion = "2021-04-12"

    /// The hub's name, as tokens and user names give it.
    public let hostName: String
    /// The device.
    public let deviceID: String
    private let key: String

    /// Makes the sign-in of one device.
    ///
    /// - Parameters:
    ///   - hostName: the hub's name.
    ///   - deviceID: the device.
    ///   - key: the device's key as base64 text.
    public init(hostName: String, deviceID: String, key: String) {
        self.hostName = hostName
        self.deviceID = deviceID
        self.key = key
    }

    /// The topic of telemetry without properties.
    public var telemetryTopic: String {
        "devices/\(self.deviceID)/messages/events/"
    }

    /// The CONNECT packet with a token that is valid from now on.
    ///
    /// - Parameters:
    ///   - keepAliveSeconds: seconds between packets that the device promises.
    ///   - tokenSeconds: for how long the token is valid.
    /// - Returns: the bytes of the packet.
    /// - Throws: ``HubClientError/badKey``, or a protocol violation when a name is too long to send.
    public func connectPacket(keepAliveSeconds: UInt16, tokenSeconds: Int64) throws(HubClientError) -> ByteBuffer {
        let token = try SASToken.make(
            resource: "\(self.hostName)/devices/\(self.deviceID)",
            key: self.key,
            expiresAt: SASToken.expiry(inSeconds: tokenSeconds)
        )
        let connect = Connect(
            clientID: self.deviceID,
            cleanSession: true,
            keepAliveSeconds: keepAliveSeconds,
            username: "\(self.hostName)/\(self.deviceID)/?api-version=\(Self.apiVersion)",
            password: ByteBuffer(string: token)
        )
        var packet = ByteBuffer()
        do {
            try connect.encode(into: &packet)
        } catch {
            throw .protocolViolation("the device id or the host name is too long for MQTT")
        }
        return packet
    }
}
