// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// Names a device, or a module of a device, within one hub.
///
/// Ids are case-sensitive and compared byte for byte. Whether a text is a legal id is asked once, at the edge, with
/// ``isLegal(_:)``; a value of this type that came from the store is legal by construction.
public struct IdentityID: Hashable, Sendable, CustomStringConvertible {
    /// The id of the device.
    public let device: String
    /// The id of the module, nil for the device itself.
    public let module: String?

    /// Names a device, or one of its modules.
    public init(device: String, module: String? = nil) {
        self.device = device
        self.module = module
    }

    /// The MQTT client id and audience spelling: `device` or `device/module`.
    public var description: String {
        guard let module else { return device }
        return "\(device)/\(module)"
    }

    /// Says whether a text may be the id of a device or a module: 1 to 128 characters of the documented set.
    ///
    /// Source: docs/wire/http.md#identities.
    public static func isLegal(_ text: some StringProtocol) -> Bool {
        let bytes = text.utf8
        return (1...Limits.identityLengthMax).contains(bytes.count) && bytes.allSatisfy(isLegalByte)
    }

    private static func isLegalByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        case UInt8(ascii: "-"), UInt8(ascii: ":"), UInt8(ascii: "."), UInt8(ascii: "+"), UInt8(ascii: "%"),
            UInt8(ascii: "_"), UInt8(ascii: "#"), UInt8(ascii: "*"), UInt8(ascii: "?"), UInt8(ascii: "!"),
            UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: ","), UInt8(ascii: "="), UInt8(ascii: "@"),
            UInt8(ascii: ";"), UInt8(ascii: "$"), UInt8(ascii: "'"):
            true
        default:
            false
        }
    }
}
