// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// The system properties that a sender may set on a message, by where an event carries them
/// (docs/wire/mqtt.md#property-bag).
public enum SystemProperty: Sendable, Hashable, CaseIterable {
    /// Field `message-id` of the properties section.
    case messageID
    /// Field `user-id`.
    case userID
    /// Field `to`.
    case to
    /// Field `correlation-id`.
    case correlationID
    /// Field `content-type`.
    case contentType
    /// Field `content-encoding`.
    case contentEncoding
    /// Annotation `dt-subject`: the component that speaks.
    case component
    /// Annotation `iothub-interface-id`.
    case interfaceID
    /// Annotation `Diagnostic-Id`.
    case diagnosticID
    /// Annotation `Correlation-Context`.
    case correlationContext
    /// Annotation `tracestate`.
    case traceState

    /// The annotation that carries it; nil for a field of the properties section.
    var annotation: String? {
        switch self {
        case .messageID, .userID, .to, .correlationID, .contentType, .contentEncoding: nil
        case .component: "dt-subject"
        case .interfaceID: "iothub-interface-id"
        case .diagnosticID: "Diagnostic-Id"
        case .correlationContext: "Correlation-Context"
        case .traceState: "tracestate"
        }
    }
}
