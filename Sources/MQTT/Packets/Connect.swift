// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// A client's wish to connect. (MQTT 3.1)
public struct Connect: Equatable, Sendable {
    /// A message that the server sends when the client vanishes.
    public struct Will: Equatable, Sendable {
        /// The topic name.
        public var topic: ByteBuffer
        /// The message.
        public var payload: ByteBuffer
        /// How it would be delivered.
        public var qos: QoS
        /// Asks a broker to keep the message.
        public var retain: Bool

        /// A will to be sent.
        public init(topic: ByteBuffer, payload: ByteBuffer, qos: QoS = .atMostOnce, retain: Bool = false) {
            self.topic = topic
            self.payload = payload
            self.qos = qos
            self.retain = retain
        }
    }

    /// Who connects; may be empty.
    public var clientID: String
    /// False asks the server to keep the session.
    public var cleanSession: Bool
    /// Seconds between packets, 0 for none.
    public var keepAliveSeconds: UInt16
    /// The will, if any.
    public var will: Will?
    /// The user name, nil if its flag is not set.
    public var username: String?
    /// The password, nil if its flag is not set; any bytes, never logged.
    public var password: ByteBuffer?

    /// A CONNECT to be sent.
    public init(
        clientID: String,
        cleanSession: Bool = true,
        keepAliveSeconds: UInt16 = 60,
        will: Will? = nil,
        username: String? = nil,
        password: ByteBuffer? = nil
    ) {
        self.clientID = clientID
        self.cleanSession = cleanSession
        self.keepAliveSeconds = keepAliveSeconds
        self.will = will
        self.username = username
        self.password = password
    }

    private struct Flags: OptionSet {
        let rawValue: UInt8
        static let reserved = Flags(rawValue: 0x01)
        static let cleanSession = Flags(rawValue: 0x02)
        static let will = Flags(rawValue: 0x04)
        static let willQoS = Flags(rawValue: 0x18)
        static let willRetain = Flags(rawValue: 0x20)
        static let password = Flags(rawValue: 0x40)
        static let username = Flags(rawValue: 0x80)
    }

    static func decode(body: inout ByteBuffer, toleratesWildcards: Bool) throws(MQTTError) -> Connect {
        let name = try body.readField()
        guard let level = body.readInteger(as: UInt8.self) else { throw .fieldTruncated }
        // Level 3 calls itself MQIsdp, level 5 has other fields from here on: both get CONNACK 1. [MQTT-3.1.2-2]
        switch (String(buffer: name), level) {
        case ("MQTT", 4): break
        case ("MQTT", _), ("MQIsdp", _): throw .protocolLevelUnacceptable
        default: throw .protocolNameInvalid  // [MQTT-3.1.2-1]
        }
        guard let flags = body.readInteger(as: UInt8.self).map(Flags.init),
            let keepAlive = body.readInteger(as: UInt16.self)
        else { throw .fieldTruncated }
        guard !flags.contains(.reserved) else { throw .connectFlagsInvalid }  // [MQTT-3.1.2-3]
        if !flags.contains(.will) {
            // [MQTT-3.1.2-11], [MQTT-3.1.2-13], [MQTT-3.1.2-15]
            guard flags.isDisjoint(with: [.willQoS, .willRetain]) else { throw .connectFlagsInvalid }
        }
        // [MQTT-3.1.2-22]
        if flags.contains(.password) { guard flags.contains(.username) else { throw .connectFlagsInvalid } }
        guard let willQoS = QoS(rawValue: flags.intersection(.willQoS).rawValue >> 3) else {
            throw .connectFlagsInvalid  // [MQTT-3.1.2-14]
        }
        var connect = Connect(
            clientID: try body.readText(),  // [MQTT-3.1.3-4]
            cleanSession: flags.contains(.cleanSession),
            keepAliveSeconds: keepAlive
        )
        if flags.contains(.will) {
            let topic = try body.readField()
            switch topic.checkString() {
            case .plain: break
            case .wildcard: guard toleratesWildcards else { throw .topicNameInvalid }
            case .invalid: throw .stringInvalid  // [MQTT-3.1.3-10]
            }
            guard topic.readableBytes > 0 else { throw .topicNameInvalid }  // [MQTT-4.7.3-1]
            connect.will = Will(
                topic: topic,
                payload: try body.readField(),
                qos: willQoS,
                retain: flags.contains(.willRetain)
            )
        }
        if flags.contains(.username) { connect.username = try body.readText() }  // [MQTT-3.1.3-11]
        if flags.contains(.password) { connect.password = try body.readField() }
        return connect
    }

    /// Appends this packet to a buffer.
    ///
    /// - Throws: `valueTooLong`, `connectFlagsInvalid` for a password without a user name.
    public func encode(into buffer: inout ByteBuffer) throws(MQTTError) {
        guard password == nil || username != nil else { throw .connectFlagsInvalid }
        var flags: Flags = cleanSession ? .cleanSession : []
        var size = 10 + 2 + clientID.utf8.count
        if let will {
            flags.formUnion([.will, Flags(rawValue: will.qos.rawValue << 3)])
            if will.retain { flags.insert(.willRetain) }
            size += 4 + will.topic.readableBytes + will.payload.readableBytes
        }
        if let username {
            flags.insert(.username)
            size += 2 + username.utf8.count
        }
        if let password {
            flags.insert(.password)
            size += 2 + password.readableBytes
        }
        try buffer.writeFixedHeader(.connect, remainingLength: size)
        try buffer.writeText("MQTT")
        buffer.writeInteger(UInt8(4))
        buffer.writeInteger(flags.rawValue)
        buffer.writeInteger(keepAliveSeconds)
        try buffer.writeText(clientID)
        if let will {
            try buffer.writeField(will.topic)
            try buffer.writeField(will.payload)
        }
        if let username { try buffer.writeText(username) }
        if let password { try buffer.writeField(password) }
    }
}
