// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// The condition symbol of an AMQP error (AMQP 2.8.14 to 2.8.18 and the extensions of Microsoft's services).
public struct AMQPCondition: RawRepresentable, Hashable, Sendable, ExpressibleByStringLiteral {
    /// The symbol on the wire.
    public var rawValue: String

    /// A condition with the given symbol.
    public init(rawValue: String) { self.rawValue = rawValue }

    /// A condition with the given symbol.
    public init(stringLiteral value: String) { self.rawValue = value }

    /// An internal error occurred.
    public static let internalError: AMQPCondition = "amqp:internal-error"
    /// What was addressed does not exist.
    public static let notFound: AMQPCondition = "amqp:not-found"
    /// The peer may not use what it addressed.
    public static let unauthorizedAccess: AMQPCondition = "amqp:unauthorized-access"
    /// Data could not be decoded.
    public static let decodeError: AMQPCondition = "amqp:decode-error"
    /// A bound of the receiver was reached.
    public static let resourceLimitExceeded: AMQPCondition = "amqp:resource-limit-exceeded"
    /// The peer tried what is not allowed.
    public static let notAllowed: AMQPCondition = "amqp:not-allowed"
    /// A field has an invalid value.
    public static let invalidField: AMQPCondition = "amqp:invalid-field"
    /// The function is not implemented.
    public static let notImplemented: AMQPCondition = "amqp:not-implemented"
    /// The resource is in use by somebody else.
    public static let resourceLocked: AMQPCondition = "amqp:resource-locked"
    /// A precondition failed.
    public static let preconditionFailed: AMQPCondition = "amqp:precondition-failed"
    /// The resource was deleted while in use.
    public static let resourceDeleted: AMQPCondition = "amqp:resource-deleted"
    /// A frame is not permitted in the current state.
    public static let illegalState: AMQPCondition = "amqp:illegal-state"
    /// The peer's max-frame-size is too small.
    public static let frameSizeTooSmall: AMQPCondition = "amqp:frame-size-too-small"
    /// An operator or the server itself closed the connection.
    public static let connectionForced: AMQPCondition = "amqp:connection:forced"
    /// No valid frame can be formed from the bytes received.
    public static let framingError: AMQPCondition = "amqp:connection:framing-error"
    /// The peer should connect to another address.
    public static let connectionRedirect: AMQPCondition = "amqp:connection:redirect"
    /// The peer sent more transfer frames than the session window allows.
    public static let windowViolation: AMQPCondition = "amqp:session:window-violation"
    /// Input arrived for a link that was detached with an error.
    public static let errantLink: AMQPCondition = "amqp:session:errant-link"
    /// The handle is already in use.
    public static let handleInUse: AMQPCondition = "amqp:session:handle-in-use"
    /// A frame names a handle that no link has.
    public static let unattachedHandle: AMQPCondition = "amqp:session:unattached-handle"
    /// An operator or the server itself detached the link.
    public static let detachForced: AMQPCondition = "amqp:link:detach-forced"
    /// The peer sent more messages than the link credit allows.
    public static let transferLimitExceeded: AMQPCondition = "amqp:link:transfer-limit-exceeded"
    /// A message is larger than the link allows.
    public static let messageSizeExceeded: AMQPCondition = "amqp:link:message-size-exceeded"
    /// The peer should attach at another address.
    public static let linkRedirect: AMQPCondition = "amqp:link:redirect"
    /// The link was taken by another attach.
    public static let linkStolen: AMQPCondition = "amqp:link:stolen"
    /// An argument cannot be understood.
    public static let argumentError: AMQPCondition = "com.microsoft:argument-error"
    /// An argument is out of range.
    public static let argumentOutOfRange: AMQPCondition = "com.microsoft:argument-out-of-range"
    /// The server has too much to do.
    public static let serverBusy: AMQPCondition = "com.microsoft:server-busy"
    /// The lock of a message is over.
    public static let messageLockLost: AMQPCondition = "com.microsoft:message-lock-lost"
    /// An operation inside the server took too long.
    public static let timeout: AMQPCondition = "com.microsoft:timeout"
}

/// The error composite of detach, end, close and rejected (AMQP 2.8.14).
public struct AMQPError: Hashable, Sendable {
    /// What went wrong, for programs.
    public var condition: AMQPCondition
    /// What went wrong, for people; safe to print.
    public var description: String?
    /// More about it, with symbol keys.
    public var info: AMQPMap?

    /// An error with all its parts.
    public init(_ condition: AMQPCondition, _ description: String? = nil, info: AMQPMap? = nil) {
        self.condition = condition
        self.description = description
        self.info = info
    }
}

/// Why bytes could not be decoded.
public enum AMQPDecodeError: Error, Equatable, Sendable {
    /// The bytes end before the value does, or a size points beyond the end.
    case truncated
    /// No type has this constructor byte.
    case unknownConstructor(UInt8)
    /// The value is well formed but not of the type that is wanted here; the byte is its constructor.
    case unexpectedType(UInt8)
    /// Nothing known has this descriptor.
    case unknownDescriptor
    /// Text is not UTF-8, or a symbol not ASCII.
    case invalidText
    /// A size or count contradicts what it counts.
    case inconsistentSize
    /// Values nest deeper than ``AMQPLimits/nestingDepthMax``.
    case tooDeep
    /// More values than ``AMQPLimits/elementsMax``.
    case tooManyElements
    /// A mandatory field is null or missing.
    case missingField(StaticName)
    /// A field has a value that its type allows and its meaning forbids.
    case invalidField(StaticName)

    /// The name of a field, as the standard spells it.
    public struct StaticName: Equatable, Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
        /// The name.
        public let description: String

        /// A name given in the source text.
        public init(stringLiteral value: String) { description = value }
    }

    /// The error to answer the peer with.
    public var asError: AMQPError {
        switch self {
        case .truncated: AMQPError(.decodeError, "The bytes end within a value.")
        case .unknownConstructor(let code): AMQPError(.decodeError, "No type has the constructor \(code).")
        case .unexpectedType(let code): AMQPError(.decodeError, "A value with constructor \(code) has the wrong type.")
        case .unknownDescriptor: AMQPError(.decodeError, "The descriptor is not known here.")
        case .invalidText: AMQPError(.decodeError, "A string is not UTF-8 or a symbol not ASCII.")
        case .inconsistentSize: AMQPError(.decodeError, "A size or count contradicts what it counts.")
        case .tooDeep: AMQPError(.decodeError, "The values nest too deep.")
        case .tooManyElements: AMQPError(.decodeError, "There are too many values.")
        case .missingField(let name): AMQPError(.invalidField, "The field \(name) is mandatory.")
        case .invalidField(let name): AMQPError(.invalidField, "The field \(name) has an invalid value.")
        }
    }
}
