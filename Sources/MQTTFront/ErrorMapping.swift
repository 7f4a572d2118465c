// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel
import MQTT

/// How the hub's errors look in MQTT 3.1.1, which knows five codes for a CONNECT and nothing but closing for the rest.
enum ErrorMapping {
    /// The answer to a CONNECT that failed (docs/wire/mqtt.md#connack).
    ///
    /// 5 stops Python's and C#'s SDKs for good, so whatever may pass is 3. Codes 2 and 4 are never sent.
    static func returnCode(for error: any Error) -> Connack.ReturnCode {
        guard let error = error as? HubError else { return .serverUnavailable }
        switch error.code {
        case .unauthorized, .forbidden, .deviceNotFound, .moduleNotFound, .argumentInvalid, .formatError, .notSupported,
            .invalidDeviceScope, .deviceDefinedMultipleTimes, .systemModule,
            .certificateNotFound:
            return .notAuthorized
        case .deviceAlreadyExists, .moduleAlreadyExists, .preconditionFailed, .quotaExceeded, .messageTooLarge,
            .throttled, .serviceUnavailable, .storageFull, .storageCorrupt, .internalError, .deviceNotOnline,
            .deviceConnectionClosedRemotely, .gatewayTimeout, .invalidResponseWhileProxying,
            .deviceMaximumInflightMethodExceeded, .deviceMaximumQueueDepthExceeded, .invalidMessageExpiryTime,
            .messageLockLost, .tooManyModules:
            return .serverUnavailable
        }
    }
}
