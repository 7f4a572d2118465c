// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel
import Hub
import MQTT

/// Why the front ends a connection; MQTT 3.1.1 can't tell the client, so the log does.
enum ConnectionEnd {
    /// The session rules say so.
    case session(SessionEnd)
    /// A PUBLISH to a topic that the client has no business with.
    case topicForbidden
    /// A PUBLISH to a topic of something that the hub does not offer yet.
    case topicUnsupported
    /// A SUBSCRIBE to a filter that covers nothing the hub sends to this client.
    case filterForbidden
    /// A SUBSCRIBE to a filter over the limit.
    case filterTooLong
    /// A message over the limit.
    case messageTooLarge
    /// A property bag over the limit.
    case tooManyProperties
    /// Messages can't be stored, and the wait for it is over.
    case storageFailed
    /// The client does not take what it is sent.
    case unread
    /// The hub says so.
    case hub(DisconnectReason)
    /// The client asked for it.
    case fault(FaultKind)
    /// The client closed.
    case peerClosed
    /// The transport failed.
    case transport(any Error)

    /// A word for metrics, nil for what is no refusal.
    var refusal: StaticString? {
        switch self {
        case .session(.disconnected), .session(.keepAliveExpired), .hub, .fault, .peerClosed, .transport: nil
        case .session(.malformed): "mqtt_malformed"
        case .session(.refused(.notAuthorized)): "mqtt_unauthorized"
        case .session(.refused(.serverUnavailable)): "mqtt_unavailable"
        case .session(.refused): "mqtt_refused"
        case .session(.credentialExpired): "mqtt_expired"
        case .session(.connectTimedOut): "mqtt_connect_timeout"
        case .session: "mqtt_protocol"
        case .topicForbidden, .topicUnsupported, .filterForbidden: "mqtt_topic"
        case .messageTooLarge, .tooManyProperties, .filterTooLong: "mqtt_too_large"
        case .storageFailed: "mqtt_storage"
        case .unread: "mqtt_unread"
        }
    }
}

extension ConnectionEnd: CustomStringConvertible {
    /// Safe to log: shows nothing that the peer sent.
    var description: String {
        switch self {
        case .session(let end): end.description
        case .topicForbidden: "PUBLISH to a topic that is not the client's"
        case .topicUnsupported: "PUBLISH to a topic that this hub does not serve yet"
        case .filterForbidden: "SUBSCRIBE to a filter that covers nothing of the client's"
        case .filterTooLong: "filter too long"
        case .messageTooLarge: "message too large"
        case .tooManyProperties: "too many properties"
        case .storageFailed: "messages can't be stored"
        case .unread: "client does not take what it is sent"
        case .hub(let reason): reason.rawValue
        case .fault(let kind): "fault that was asked for: \(kind.rawValue)"
        case .peerClosed: "client closed"
        case .transport(let error): "transport: \(error)"
        }
    }
}
