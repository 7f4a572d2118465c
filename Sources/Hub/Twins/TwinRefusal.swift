// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel

/// Why a request of a device about its twin was refused, as it is told on every protocol (docs/wire/mqtt.md#twins).
public struct TwinRefusal: Sendable {
    /// The number, which begins with the three digits of the status.
    public let number: Int
    /// The name of the number.
    public let name: String
    /// A sentence.
    public let message: String

    /// What the device is told of an error; nothing of one that is not the hub's own.
    public init(_ error: any Error) {
        let error = error as? HubError ?? HubError(.internalError, "The hub failed.")
        (self.number, self.name) = Self.numberAndName(error.code)
        self.message = error.message
    }

    /// The status, as HTTP would have it.
    public var status: Int { self.number / 1000 }

    /// Whether the same request may succeed later.
    public var mayPass: Bool { self.status >= 500 || self.status == 429 }

    private static func numberAndName(_ code: HubErrorCode) -> (Int, String) {
        switch code {
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
    }
}
