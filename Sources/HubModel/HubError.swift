// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// What went wrong with a request, in the hub's own terms; each front maps it to its protocol in `ErrorMapping.swift`.
///
/// The message is safe to print and to send to a peer: it never holds a key, a token or a payload.
public struct HubError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What kind of failure it is.
    public let code: HubErrorCode
    /// A sentence for the person who reads the log or the answer.
    public let message: String

    /// Makes an error of a kind, with a sentence that says what to do about it.
    public init(_ code: HubErrorCode, _ message: String) {
        self.code = code
        self.message = message
    }

    /// The name of the code and the message.
    public var description: String { "\(code): \(message)" }
}

/// The kinds of failure a hub reports, named as the service API names them (docs/wire/http.md#errors).
public enum HubErrorCode: Sendable, Hashable, CaseIterable {
    /// An argument is missing, malformed or out of range.
    case argumentInvalid
    /// A body or a header can't be read at all.
    case formatError
    /// The credential is missing, malformed, wrong or expired.
    case unauthorized
    /// The credential is right but does not carry the right that is needed.
    case forbidden
    /// A device scope names no edge device.
    case invalidDeviceScope
    /// One call names the same identity twice.
    case deviceDefinedMultipleTimes
    /// The certificate authority is not registered.
    case certificateNotFound
    /// The device does not exist.
    case deviceNotFound
    /// The module does not exist.
    case moduleNotFound
    /// The device is not connected, or does not take methods.
    case deviceNotOnline
    /// The device's connection ended before it answered.
    case deviceConnectionClosedRemotely
    /// The device did not answer in time.
    case gatewayTimeout
    /// The device answered with something that is no answer.
    case invalidResponseWhileProxying
    /// As many calls of methods wait for the device as may.
    case deviceMaximumInflightMethodExceeded
    /// The device's queue holds as many commands as it may.
    case deviceMaximumQueueDepthExceeded
    /// The expiry of a command is past, or too far ahead.
    case invalidMessageExpiryTime
    /// The lock of a message is over: another has it, or it is gone.
    case messageLockLost
    /// A device of that id exists already.
    case deviceAlreadyExists
    /// A module of that id exists already.
    case moduleAlreadyExists
    /// The entity tag that the caller holds is not the current one.
    case preconditionFailed
    /// The hub holds as many of these as it may.
    case quotaExceeded
    /// The device has as many modules as it may.
    case tooManyModules
    /// A module of the edge runtime, which services neither make nor change.
    case systemModule
    /// The message is larger than it may be.
    case messageTooLarge
    /// The caller asks for more than it may just now.
    case throttled
    /// The hub can't do this now; trying again later may help.
    case serviceUnavailable
    /// The store has no room for more.
    case storageFull
    /// The store found that what it held is damaged.
    case storageCorrupt
    /// The hub knows the operation and does not offer it yet.
    case notSupported
    /// Something that should not happen happened in the hub.
    case internalError

    /// Whether the same request may succeed later without a change of its own.
    public var isTransient: Bool {
        switch self {
        case .throttled, .serviceUnavailable, .storageFull, .internalError: true
        default: false
        }
    }
}
