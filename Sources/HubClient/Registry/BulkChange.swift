// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// One item of a bulk call to the registry.
public struct BulkChange: Codable, Hashable, Sendable {
    /// What is done with the device.
    public enum Mode: String, Codable, Sendable {
        /// Make it; it is an error if it exists.
        case create
        /// Make it or replace what a client may set.
        case createOrUpdate
        /// Replace what a client may set.
        case update
        /// Take it away.
        case delete
    }

    /// The id of the device.
    public var id: String
    /// What is done with it.
    public var importMode: Mode
    /// `enabled` or `disabled`.
    public var status: String?
    /// How the device signs in.
    public var authentication: DeviceIdentity.Authentication?

    /// Makes an item.
    public init(
        id: String,
        importMode: Mode,
        status: String? = nil,
        authentication: DeviceIdentity.Authentication? = nil
    ) {
        self.id = id
        self.importMode = importMode
        self.status = status
        self.authentication = authentication
    }
}

/// What a bulk call did.
public struct BulkResult: Codable, Hashable, Sendable {
    /// Whether every item took effect.
    public var isSuccessful: Bool
    /// The items that did not.
    public var errors: [Failure]

    /// Makes a result.
    public init(isSuccessful: Bool, errors: [Failure]) {
        self.isSuccessful = isSuccessful
        self.errors = errors
    }

    /// One item that took no effect.
    public struct Failure: Codable, Hashable, Sendable {
        /// The device.
        public var deviceID: String?
        /// The name of the error, such as `DeviceAlreadyExists`.
        public var errorCode: String
        /// The hub's sentence.
        public var errorStatus: String?

        private enum CodingKeys: String, CodingKey {
            case deviceID = "deviceId"
            case errorCode, errorStatus
        }

        /// Makes a failure.
        public init(deviceID: String?, errorCode: String, errorStatus: String?) {
            self.deviceID = deviceID
            self.errorCode = errorCode
            self.errorStatus = errorStatus
        }

        /// Reads a failure; the code may come as a number.
        public init(from decoder: any Decoder) throws {
            let fields = try decoder.container(keyedBy: CodingKeys.self)
            self.deviceID = try fields.decodeIfPresent(String.self, forKey: .deviceID)
            self.errorStatus = try fields.decodeIfPresent(String.self, forKey: .errorStatus)
            do {
                self.errorCode = try fields.decode(String.self, forKey: .errorCode)
            } catch {
                self.errorCode = String(try fields.decode(Int.self, forKey: .errorCode))
            }
        }
    }
}
