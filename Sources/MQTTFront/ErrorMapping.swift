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

    /// The answer to a request about the twin that failed (docs/wire/mqtt.md#twins).
    static func twinRefusal(for error: any Error) -> TwinRefusal {
        guard let error = error as? HubError else {
            return TwinRefusal(status: 500, number: 500_001, name: "ServerError", message: "The hub failed.")
        }
        let (number, name): (Int, String) =
            switch error.code {
            case .argumentInvalid, .invalidDeviceScope, .deviceDefinedMultipleTimes: (400_004, "ArgumentInvalid")
            case .formatError: (400_006, "IotHubFormatError")
            case .notSupported: (400_003, "InvalidOperation")
            case .unauthorized, .forbidden, .systemModule: (401_002, "IotHubUnauthorizedAccess")
            case .quotaExceeded, .tooManyModules: (403_002, "IotHubQuotaExceeded")
            case .certificateNotFound: (404_000, "GenericNotFound")
            case .deviceNotFound: (404_001, "DeviceNotFound")
            case .moduleNotFound: (404_010, "ModuleNotFound")
            case .deviceAlreadyExists, .moduleAlreadyExists: (409_002, "LinkCreationConflict")
            case .preconditionFailed: (412_001, "PreconditionFailed")
            case .messageTooLarge: (413_001, "MessageTooLarge")
            case .throttled: (429_001, "ThrottlingException")
            case .storageCorrupt, .internalError: (500_001, "ServerError")
            case .serviceUnavailable, .storageFull: (503_001, "ServiceUnavailable")
            case .deviceMaximumQueueDepthExceeded: (403_004, "DeviceMaximumQueueDepthExceeded")
            case .invalidMessageExpiryTime: (403_009, "InvalidMessageExpiryTime")
            case .deviceMaximumInflightMethodExceeded: (403_800, "DeviceMaximumInflightMethodExceeded")
            case .deviceNotOnline: (404_103, "DeviceNotOnline")
            case .deviceConnectionClosedRemotely: (404_104, "DeviceConnectionClosedRemotely")
            case .messageLockLost: (412_002, "DeviceMessageLockLost")
            case .invalidResponseWhileProxying: (502_000, "InvalidResponseWhileProxying")
            case .gatewayTimeout: (504_101, "GatewayTimeout")
            }
        return TwinRefusal(status: number / 1000, number: number, name: name, message: error.message)
    }
}
