// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel

/// The property bag of a command's topic, in the one form that every SDK can take apart
/// (docs/wire/mqtt.md#commands).
///
/// System properties come first, spelled `%24.`, for the SDKs for C and Java look for these very bytes; `$.to` is always
/// there, for the SDK for .NET can't live without a bag; everything but RFC 3986's unreserved characters is encoded.
enum CommandBag {
    /// The bag of a command.
    static func text(of command: Command) -> String {
        let message = command.message
        var bag = Writer()
        bag.system("to", message.to.isEmpty ? "/devices/\(command.device)/messages/deviceBound" : message.to)
        bag.system("mid", message.messageID)
        bag.system("cid", message.correlationID)
        if let user = message.userID, !user.isEmpty { bag.pair("%24.uid", user) }
        bag.system("ct", message.contentType)
        bag.system("ce", message.contentEncoding)
        bag.system("exp", message.expiresMilliseconds.map { UTCTime.text(milliseconds: $0) })
        if message.acknowledgement != .none { bag.pair("iothub-ack", message.acknowledgement.rawValue.utf8) }
        for property in message.properties where isApplication(property.name) {
            bag.pair(encoding: property.name.utf8, property.value.utf8)
        }
        return String(decoding: bag.bytes, as: UTF8.self)
    }

    /// Whether a property may stand in the bag under its own name: it must not pass for one of the hub's, at some of which
    /// the SDK for Java stops.
    private static func isApplication(_ name: String) -> Bool {
        !name.isEmpty && !name.utf8.starts(with: "$.".utf8) && !name.lowercased().utf8.starts(with: "iothub-".utf8)
    }

    private struct Writer {
        var bytes: [UInt8] = []

        /// Adds a system property, unless it is missing or empty, which no SDK expects.
        mutating func system(_ name: StaticString, _ value: String?) {
            guard let value, !value.isEmpty else { return }
            pair("%24.\(name)", value.utf8)
        }

        mutating func pair(_ name: String, _ value: some Collection<UInt8>) {
            if !bytes.isEmpty { bytes.append(UInt8(ascii: "&")) }
            bytes += name.utf8
            bytes.append(UInt8(ascii: "="))
            encode(value)
        }

        mutating func pair(encoding name: some Collection<UInt8>, _ value: some Collection<UInt8>) {
            bytes.append(UInt8(ascii: "&"))
            encode(name)
            bytes.append(UInt8(ascii: "="))
            encode(value)
        }

        private mutating func encode(_ text: some Collection<UInt8>) {
            for byte in text {
                switch byte {
                case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                    UInt8(ascii: "~"):
                    bytes.append(byte)
                default:
                    bytes.append(UInt8(ascii: "%"))
                    bytes.append(Self.digits[Int(byte >> 4)])
                    bytes.append(Self.digits[Int(byte & 15)])
                }
            }
        }

        private static let digits = Array("0123456789ABCDEF".utf8)
    }
}
