// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// The answer to CONNECT. (MQTT 3.2)
public struct Connack: Hashable, Sendable {
    /// Whether the server took the connection. (MQTT 3.2.2.3)
    public enum ReturnCode: UInt8, Hashable, Sendable, CaseIterable {
        /// Connected.
        case accepted = 0
        /// The level of the protocol is not supported.
        case unacceptableProtocolVersion = 1
        /// The client id is well-formed but not allowed.
        case identifierRejected = 2
        /// The server can't at the moment.
        case serverUnavailable = 3
        /// Malformed user name or password.
        case badCredentials = 4
        /// Not authorised.
        case notAuthorized = 5
    }

    /// The server holds a session for this client id.
    public var sessionPresent: Bool
    /// The answer.
    public var returnCode: ReturnCode

    /// An answer to be sent; a refusal never says that a session is present. [MQTT-3.2.2-4]
    public init(sessionPresent: Bool, returnCode: ReturnCode) {
        self.sessionPresent = sessionPresent && returnCode == .accepted
        self.returnCode = returnCode
    }

    static func decode(body: inout ByteBuffer) throws(MQTTError) -> Connack {
        guard let flags = body.readInteger(as: UInt8.self), let raw = body.readInteger(as: UInt8.self) else {
            throw .fieldTruncated
        }
        guard flags & 0xFE == 0, let code = ReturnCode(rawValue: raw), flags == 0 || code == .accepted else {
            throw .returnCodeInvalid
        }
        return Connack(sessionPresent: flags == 1, returnCode: code)
    }

    /// Appends this packet to a buffer.
    public func encode(into buffer: inout ByteBuffer) {
        buffer.writeInteger(0x2002_0000 | (sessionPresent ? UInt32(0x0100) : 0) | UInt32(returnCode.rawValue))
    }
}
