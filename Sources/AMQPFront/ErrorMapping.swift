// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import Hub
import HubModel

// How errors of the hub look in AMQP (docs/wire/amqp.md#errors).
extension AMQPError {
    init(_ error: HubError) {
        let condition: AMQPCondition =
            switch error.code {
            case .argumentInvalid, .formatError, .invalidDeviceScope, .deviceDefinedMultipleTimes: .argumentError
            case .unauthorized, .forbidden, .systemModule: .unauthorizedAccess
            case .certificateNotFound: .notFound
            case .deviceNotFound, .moduleNotFound, .deviceNotOnline, .deviceConnectionClosedRemotely: .notFound
            // The .NET SDK takes it for a lost lock (docs/wire/amqp.md#commands).
            case .messageLockLost: .notFound
            case .invalidMessageExpiryTime: .argumentError
            case .deviceMaximumQueueDepthExceeded, .deviceMaximumInflightMethodExceeded: .resourceLimitExceeded
            case .gatewayTimeout: .timeout
            case .invalidResponseWhileProxying: .internalError
            case .deviceAlreadyExists, .moduleAlreadyExists: .notAllowed
            case .preconditionFailed: .preconditionFailed
            case .quotaExceeded, .tooManyModules: .resourceLimitExceeded
            case .messageTooLarge: .messageSizeExceeded
            case .throttled, .serviceUnavailable, .storageFull: .serverBusy
            case .storageCorrupt, .internalError: .internalError
            case .notSupported: .notImplemented
            }
        self.init(condition, error.message)
    }

    init(_ conflict: ReaderConflict) {
        switch conflict.kind {
        case .stolen: self.init(.linkStolen, conflict.message)
        case .tooMany: self.init(.resourceLimitExceeded, conflict.message)
        }
    }

    /// The text that .NET and Java look for; without it they take not-found for something that may pass.
    static func entityNotFound(host: String, path: String) -> AMQPError {
        AMQPError(.notFound, "The messaging entity 'sb://\(host)/\(path)' could not be found.")
    }

    static let listenClaimMissing = AMQPError(
        .unauthorizedAccess,
        "Unauthorized access. 'Listen' claim(s) are required to perform this operation."
    )

    static let sendClaimMissing = AMQPError(
        .unauthorizedAccess,
        "Unauthorized access. 'Send' claim(s) are required to perform this operation."
    )

    static let serviceClaimMissing = AMQPError(
        .unauthorizedAccess,
        "Unauthorized access. A token of a policy with ServiceConnect is required to perform this operation."
    )

    static func wrongRole(_ text: String) -> AMQPError {
        AMQPError(.notAllowed, "\(text) The link goes the other way.")
    }

    /// Why the links of one identity end (docs/wire/amqp.md#identities).
    init(_ reason: DisconnectReason) {
        switch reason {
        case .takenOver: self.init(.linkStolen, "The identity has connected anew.")
        case .revoked: self.init(.unauthorizedAccess, "The credential of this link was revoked.")
        case .deleted: self.init(.notFound, "The device or module of this link was deleted.")
        case .tokenExpired: self = .accessEnded
        case .shuttingDown: self.init(.connectionForced, "The hub is shutting down; connect again later.")
        }
    }

    static let identityMissing = AMQPError(
        .unauthorizedAccess,
        "Unauthorized access: put a valid token of the device or module first."
    )

    static let serverIsBusy = AMQPError(.serverBusy, "The hub could not sign the identity in now.")

    static let wrongDirection = AMQPError(.notAllowed, "Messages go the other way at this address.")

    static let accessEnded = AMQPError(
        .unauthorizedAccess,
        "The token of this link has expired or was revoked, and was not renewed."
    )
}
