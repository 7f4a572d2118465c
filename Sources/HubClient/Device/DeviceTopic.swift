// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import MQTT
import NIOCore

/// What the hub sends a device, told by its topic (docs/wire/mqtt.md).
enum DeviceTopic: Hashable {
    /// A call of a method, to be answered under this request id.
    case method(name: String, requestID: String)
    /// The answer to a request about the twin.
    case twinAnswer(status: Int, requestID: String)
    /// A change of desired properties.
    case desiredPatch
    /// A command.
    case command
    /// Something else.
    case unknown

    private static let methodPrefix = "$iothub/methods/POST/"
    private static let answerPrefix = "$iothub/twin/res/"
    private static let desiredPrefix = "$iothub/twin/PATCH/properties/desired/"

    /// Reads a topic.
    init(_ topic: String, deviceID: String) {
        if topic.hasPrefix(Self.answerPrefix) {
            let (path, id) = Self.split(topic.dropFirst(Self.answerPrefix.count))
            guard let status = Int(path), let id else {
                self = .unknown
                return
            }
            self = .twinAnswer(status: status, requestID: id)
        } else if topic.hasPrefix(Self.methodPrefix) {
            let (path, id) = Self.split(topic.dropFirst(Self.methodPrefix.count))
            guard let id else {
                self = .unknown
                return
            }
            self = .method(name: String(path), requestID: id)
        } else if topic.hasPrefix(Self.desiredPrefix) {
            self = .desiredPatch
        } else if topic.hasPrefix("devices/\(deviceID)/messages/devicebound/") {
            self = .command
        } else {
            self = .unknown
        }
    }

    /// What stands before `/?`, and the value of `$rid` behind it.
    private static func split(_ rest: Substring) -> (path: Substring, requestID: String?) {
        guard let mark = rest.firstIndex(of: "?") else { return (rest, nil) }
        var path = rest[..<mark]
        if path.hasSuffix("/") {
            path.removeLast()
        }
        for pair in rest[rest.index(after: mark)...].split(separator: "&") where pair.hasPrefix("$rid=") {
            return (path, String(pair.dropFirst(5)))
        }
        return (path, nil)
    }

    /// What a device subscribes to for methods.
    static let methods = Subscribe.Request(filter: "$iothub/methods/POST/#", qos: .atMostOnce)
    /// What a device subscribes to for the answers about its twin.
    static let twinAnswers = Subscribe.Request(filter: "$iothub/twin/res/#", qos: .atMostOnce)
    /// What a device subscribes to for changes of desired properties.
    static let desiredPatches = Subscribe.Request(filter: "$iothub/twin/PATCH/properties/desired/#", qos: .atMostOnce)

    /// What a device subscribes to for its commands.
    static func commands(of deviceID: String) -> Subscribe.Request {
        .init(filter: "devices/\(deviceID)/messages/devicebound/#", qos: .atLeastOnce)
    }

    /// Where the answer to a method goes.
    static func methodAnswer(status: Int, requestID: String) -> ByteBuffer {
        ByteBuffer(string: "$iothub/methods/res/\(status)/?$rid=\(requestID)")
    }

    /// Where a request for the twin goes.
    static func twinRead(requestID: String) -> ByteBuffer {
        ByteBuffer(string: "$iothub/twin/GET/?$rid=\(requestID)")
    }

    /// Where a patch of reported properties goes.
    static func reportedPatch(requestID: String) -> ByteBuffer {
        ByteBuffer(string: "$iothub/twin/PATCH/properties/reported/?$rid=\(requestID)")
    }
}
