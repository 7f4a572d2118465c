// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Glibc
import SwiftASN1
public import X509

/// The names and addresses a server certificate must cover.
public struct SubjectNames: Hashable, Sendable {
    /// DNS names, in the order in which they were asked for, without repetition.
    public private(set) var hostNames: [String] = []
    /// IP addresses as 4 or 16 bytes.
    public private(set) var addresses: [[UInt8]] = []

    /// The configured names first, then the machine's own, `localhost`, 127.0.0.1 and ::1.
    ///
    /// - Parameters:
    ///   - configured: host names or IP literals.
    ///   - machine: the machine's own name; nil leaves it out.
    public init(configured: [String], machine: String? = SubjectNames.machineName()) {
        for name in configured + (machine.map { [$0] } ?? []) + ["localhost", "127.0.0.1", "::1"] { add(name) }
    }

    /// The names in an existing certificate.
    ///
    /// - Throws: when the certificate's extension can't be read.
    public init(of certificate: Certificate) throws {
        guard let names = try certificate.extensions.subjectAlternativeNames else { return }
        for name in names {
            switch name {
            case .dnsName(let host): hostNames.append(host)
            case .ipAddress(let address): addresses.append(Array(address.bytes))
            default: continue
            }
        }
    }

    /// Whether every name and address of `other` is among these.
    public func covers(_ other: SubjectNames) -> Bool {
        other.hostNames.allSatisfy(hostNames.contains) && other.addresses.allSatisfy(addresses.contains)
    }

    /// This machine's name, or nil when it has none that can stand in a certificate.
    public static func machineName() -> String? {
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return nil }
        let name = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self).lowercased()
        return isHostName(name) ? name : nil
    }

    /// Whether `text` is a DNS name as certificates can carry it (letters, digits, hyphens and dots).
    public static func isHostName(_ text: String) -> Bool {
        guard !text.isEmpty, text.utf8.count <= 253 else { return false }
        return text.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { label in
            !label.isEmpty && label.utf8.count <= 63 && label.first != "-" && label.last != "-"
                && label.utf8.allSatisfy { byte in
                    (byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7a) || (byte >= 0x30 && byte <= 0x39) || byte == 0x2d
                }
        }
    }

    /// The bytes of an IP literal, or nil when it is none.
    public static func addressBytes(_ text: String) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: 16)
        if inet_pton(AF_INET, text, &bytes) == 1 { return Array(bytes[..<4]) }
        return inet_pton(AF_INET6, text, &bytes) == 1 ? bytes : nil
    }

    var generalNames: [GeneralName] {
        hostNames.map { .dnsName($0) } + addresses.map { .ipAddress(ASN1OctetString(contentBytes: $0[...])) }
    }

    private mutating func add(_ name: String) {
        if let bytes = Self.addressBytes(name) {
            if !addresses.contains(bytes) { addresses.append(bytes) }
        } else {
            let host = name.lowercased()
            if !hostNames.contains(host) { hostNames.append(host) }
        }
    }
}
