// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
import Glibc
#else
import Darwin
#endif
import Hub
import HubModel
import MQTT
import NIOCore

/// The part of the topics that belongs to one identity.
///
/// A class, so that using it costs one reference count and not one for each part.
final class TopicScope {
    /// `devices/{d}` or `devices/{d}/modules/{m}`; ids stand raw in topics, never percent-encoded.
    let root: String
    private let isModule: Bool
    /// `{root}/messages/events`, as bytes for the data path.
    private let telemetryPrefix: [UInt8]

    init(_ id: IdentityID) {
        root = id.module.map { "devices/\(id.device)/modules/\($0)" } ?? "devices/\(id.device)"
        isModule = id.module != nil
        telemetryPrefix = Array((root + "/messages/events").utf8)
    }

    /// The property bag of a telemetry topic of this identity, nil for any other topic.
    ///
    /// Everything behind `messages/events/` is the bag, slashes too; but one trailing slash is not, for C#, Node and Java
    /// append it (docs/wire/mqtt.md#property-bag).
    func telemetryBag(of topic: ByteBuffer) -> ByteBuffer? {
        var topic = topic
        let size = telemetryPrefix.count
        let rest = topic.readableBytes - size
        guard rest >= 0 else { return nil }
        let (isOwn, separator, last) = topic.withUnsafeReadableBytes { bytes -> (Bool, UInt8, UInt8) in
            let isOwn = telemetryPrefix.withUnsafeBytes { prefix in
                guard let own = prefix.baseAddress, let other = bytes.baseAddress else { return false }
                return memcmp(other, own, size) == 0
            }
            return (isOwn, rest > 0 ? bytes[size] : UInt8(ascii: "/"), bytes[bytes.count - 1])
        }
        guard isOwn, separator == UInt8(ascii: "/") else { return nil }
        topic.moveReaderIndex(forwardBy: min(size + 1, topic.readableBytes))
        if topic.readableBytes > 0, last == UInt8(ascii: "/") { topic.moveWriterIndex(to: topic.writerIndex - 1) }
        return topic
    }

    /// Whether the wildcards of a filter stand where they may, those of the client's own id left aside: ids may hold `+` and
    /// `#`, and SDKs put them into filters as they are.
    func isWellFormed(filter: String) -> Bool {
        let own = (root + "/").utf8
        return TopicFilter.isValid(filter.utf8.starts(with: own) ? filter.utf8.dropFirst(own.count) : filter.utf8[...])
    }

    /// Whether a filter covers at least one topic that the hub may send to this identity (docs/wire/mqtt.md#filters).
    ///
    /// Wildcards are fine where they are: official samples subscribe to `#` and to `devices/{d}/messages/#`.
    func accepts(filter: String) -> Bool {
        // Java's modules subscribe to a topic that never carries anything; a bare `devicebound` does no harm either.
        guard filter != root + "/messages/devicebound" else { return true }
        let levels = Self.levels(filter)
        return families.contains { Self.covers(levels, $0) }
    }

    /// What the hub is to hand to a connection that holds these filters.
    func interests(of subscriptions: SubscriptionSet) -> Directory.Interests {
        var interests: Directory.Interests = []
        if subscriptions.granted(for: HubTopic.desiredPatch(version: 1).printed(in: self)) != nil {
            interests.insert(.desired)
        }
        // One method is enough: official samples subscribe to methods one by one.
        let methods: [String?] = ["$iothub", "methods", "POST", nil, nil]
        if subscriptions.held.contains(where: { Self.covers(Self.levels($0.filter), methods) }) {
            interests.insert(.methods)
        }
        // A bag that no filter can spell out: one that covers a single bag would cover no command that there is.
        if !isModule, subscriptions.granted(for: HubTopic.command(bag: "\0").printed(in: self)) != nil {
            interests.insert(.commands)
        }
        return interests
    }

    private static func levels(_ filter: String) -> [Substring] {
        filter.split(separator: "/", omittingEmptySubsequences: false)
    }

    /// The topics that the hub may send, level by level; nil stands for any text that is not empty.
    private var families: [[String?]] {
        let own = root.split(separator: "/").map { Optional(String($0)) }
        var families: [[String?]] = [
            own + ["messages", "devicebound", nil],
            ["$iothub", "methods", "POST", nil, nil],
            ["$iothub", "twin", "res", nil, nil],
            ["$iothub", "twin", "PATCH", "properties", "desired", nil],
            ["$iothub", "credentials", "res", nil, nil],
        ]
        if isModule { families.append(own + ["inputs", nil, nil]) }
        return families
    }

    private static func covers(_ filter: [Substring], _ family: [String?]) -> Bool {
        // [MQTT-4.7.2-1]
        if let first = family[0], first.hasPrefix("$"), filter[0] == "#" || filter[0] == "+" { return false }
        for (index, level) in filter.enumerated() {
            if level == "#" { return index <= family.count }
            guard index < family.count else { return false }
            guard level != "+" else { continue }
            guard let fixed = family[index] else {
                if level.isEmpty { return false }
                continue
            }
            guard level == fixed else { return false }
        }
        return filter.count == family.count
    }
}
