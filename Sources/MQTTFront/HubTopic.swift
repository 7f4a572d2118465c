// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel
import MQTT
import NIOCore

/// The topics of the hub: what a client may publish to, and what it may be sent (docs/wire/mqtt.md#topics).
enum HubTopic: Equatable {
    /// Device-to-cloud telemetry with its property bag, still encoded; empty where there is none.
    case telemetry(bag: ByteBuffer)
    /// The answer to a direct method; the status is nil where it is no number.
    case methodResponse(status: Int32?, requestID: String)
    /// The wish for the whole twin; it can't be answered without a request id.
    case twinRead(requestID: String?)
    /// A change of reported properties, answered only where there is a request id.
    case reportedPatch(requestID: String?, version: Int64?)
    /// The wish for a new certificate.
    case certificateRequest(requestID: String)
    /// A direct method, sent to the client.
    case methodRequest(name: String, requestID: String)
    /// The answer to `twinRead` or `reportedPatch`, sent to the client.
    case twinResponse(status: Int, requestID: String, version: Int64?)
    /// A change of desired properties, sent to the client.
    case desiredPatch(version: Int64)
    /// A cloud-to-device message, sent to a device; the bag is encoded and not empty.
    case command(bag: String)
    /// A routed message, sent to a module.
    case moduleInput(name: String, bag: String)
    /// The answer to `certificateRequest`, sent to the client.
    case certificateResponse(status: Int, requestID: String)

    /// Reads the topic of a client's PUBLISH; nil for one that the client has no business with.
    static func parse(_ topic: ByteBuffer, in scope: TopicScope) -> HubTopic? {
        if let bag = scope.telemetryBag(of: topic) { return .telemetry(bag: bag) }
        let text = String(buffer: topic)
        guard text.utf8.starts(with: "$iothub/".utf8) else { return nil }
        // [MQTT-3.3.2-2] An answer would have the same request id in its topic.
        guard !text.utf8.contains(where: { $0 == UInt8(ascii: "+") || $0 == UInt8(ascii: "#") }) else { return nil }
        let (path, query) = split(text)
        let levels = path.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).map(Substring.init)
        switch (levels.count, levels.dropFirst().first) {
        case (4, "methods"):
            guard levels[2] == "res", let id = query.requestID else { return nil }
            return .methodResponse(status: Int32(levels[3]), requestID: id)
        case (3, "twin"):
            return levels[2] == "GET" ? .twinRead(requestID: query.requestID) : nil
        case (5, "twin"):
            guard levels[2...] == ["PATCH", "properties", "reported"] else { return nil }
            return .reportedPatch(requestID: query.requestID, version: query.version)
        case (4, "credentials"):
            guard levels[2...] == ["POST", "issueCertificate"], let id = query.requestID else { return nil }
            return .certificateRequest(requestID: id)
        default:
            return nil
        }
    }

    /// The topic on the wire.
    func printed(in scope: TopicScope) -> String {
        switch self {
        case .telemetry(let bag):
            scope.root + "/messages/events/" + String(buffer: bag)
        case .methodResponse(let status, let id):
            "$iothub/methods/res/\(status.map(String.init) ?? "")/?$rid=\(id)"
        case .twinRead(let id):
            "$iothub/twin/GET/" + (id.map { "?$rid=\($0)" } ?? "")
        case .reportedPatch(let id, let version):
            "$iothub/twin/PATCH/properties/reported/"
                + (id.map { id in "?$rid=\(id)" + (version.map { "&$version=\($0)" } ?? "") } ?? "")
        case .certificateRequest(let id):
            "$iothub/credentials/POST/issueCertificate/?$rid=\(id)"
        case .methodRequest(let name, let id):
            "$iothub/methods/POST/\(name)/?$rid=\(id)"
        case .twinResponse(let status, let id, let version):
            // The order of the parameters matters to the Java SDK (docs/wire/mqtt.md#twins).
            "$iothub/twin/res/\(status)/?$rid=\(id)" + (version.map { "&$version=\($0)" } ?? "")
        case .desiredPatch(let version):
            "$iothub/twin/PATCH/properties/desired/?$version=\(version)"
        case .command(let bag):
            scope.root + "/messages/devicebound/" + bag
        case .moduleInput(let name, let bag):
            scope.root + "/inputs/\(name)/" + bag
        case .certificateResponse(let status, let id):
            "$iothub/credentials/res/\(status)/?$rid=\(id)"
        }
    }

    private struct Query {
        var requestID: String?
        var version: Int64?
    }

    /// No properties have this version: what a condition that is no number stands for, for it must not be taken for none.
    private static let versionOfNothing: Int64 = -1

    /// Divides `path/?query`, where the slash before the question mark may be missing.
    ///
    /// Looks at bytes: a request id may begin with something that would make one character of it and the sign before it.
    private static func split(_ text: String) -> (Substring, Query) {
        let bytes = text.utf8
        let mark = bytes.firstIndex(of: UInt8(ascii: "?"))
        var path = bytes[..<(mark ?? bytes.endIndex)]
        if path.last == UInt8(ascii: "/") { path.removeLast() }
        var query = Query()
        guard let mark else { return (Substring(path), query) }
        for pair in bytes[bytes.index(after: mark)...].split(separator: UInt8(ascii: "&")) {
            guard let equals = pair.firstIndex(of: UInt8(ascii: "=")) else { continue }
            let value = Substring(pair[pair.index(after: equals)...])
            switch Substring(pair[..<equals]).lowercased() {
            case "$rid": query.requestID = query.requestID ?? String(value)
            case "$version": query.version = query.version ?? Int64(value) ?? versionOfNothing
            default: continue
            }
        }
        return (Substring(path), query)
    }
}
