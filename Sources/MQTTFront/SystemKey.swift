// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Hub

/// What a decoded key of a property bag means (docs/wire/mqtt.md#property-bag).
enum SystemKey {
    /// Not the hub's business: an application property.
    case application
    /// A system property.
    case system(SystemProperty)
    /// A system property of AMQP type symbol.
    case symbol(SystemProperty)
    /// The component of a plug-and-play device.
    case component
    /// The time after which the message is of no use.
    case expiry
    /// A property that events carry under a name of its own.
    case named(StaticString)
    /// Known and left out, or unknown with a `$.`: such keys are never application properties.
    case ignored

    /// Looks a key up; keys with `$.` are told by their few bytes, others only where they may be the hub's.
    init(_ key: UnsafeRawBufferPointer) {
        if key.count >= 2, key[0] == UInt8(ascii: "$"), key[1] == UInt8(ascii: ".") {
            self = Self.dollar(UnsafeRawBufferPointer(rebasing: key[2...]))
        } else if key.count >= 10, Self.reserved.contains(where: { key.equals($0) }) {
            self = .ignored
        } else {
            self = .application
        }
    }

    /// What only the hub says of a sender, and what is meant for it alone.
    private static let reserved: [StaticString] = [
        "iothub-connection-device-id", "iothub-connection-module-id", "iothub-connection-auth-method",
        "iothub-connection-auth-generation-id", "iothub-enqueuedtime", "iothub-message-source", "dt-dataschema",
        "iothub-ack", "iothub-operation",
    ]

    private static func dollar(_ name: UnsafeRawBufferPointer) -> SystemKey {
        switch name.count {
        case 2:
            if name.equals("ct") { return .symbol(.contentType) }
            if name.equals("ce") { return .symbol(.contentEncoding) }
            if name.equals("to") { return .system(.to) }
            if name.equals("on") { return .named("iothub-outputname") }
        case 3:
            if name.equals("mid") { return .system(.messageID) }
            if name.equals("cid") { return .system(.correlationID) }
            if name.equals("uid") { return .system(.userID) }
            if name.equals("sub") { return .component }
            if name.equals("exp") { return .expiry }
        default:
            if name.equals("ifid") { return .system(.interfaceID) }
            if name.equals("ctime") { return .named("iothub-creation-time-utc") }
            if name.equals("schema") { return .named("iothub-message-schema") }
            if name.equals("diagid") { return .system(.diagnosticID) }
            if name.equals("diagctx") { return .system(.correlationContext) }
            if name.equals("tracestate") { return .system(.traceState) }
        }
        return .ignored
    }
}

extension UnsafeRawBufferPointer {
    fileprivate func equals(_ text: StaticString) -> Bool {
        count == text.utf8CodeUnitCount
            && elementsEqual(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }
}
