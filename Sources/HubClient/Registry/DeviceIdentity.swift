// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// The identity of a device as the registry's API shows it.
///
/// What a client does not set is left out when it writes; what the hub did not send is nil when it reads.
public struct DeviceIdentity: Codable, Hashable, Sendable {
    /// The id.
    public var deviceID: String
    /// Tells a device from an earlier one with the same id.
    public var generationID: String?
    /// Changes with every change of the identity.
    public var etag: String?
    /// `Connected` or `Disconnected`.
    public var connectionState: String?
    /// `enabled` or `disabled`.
    public var status: String?
    /// Why the status is what it is, in the owner's words.
    public var statusReason: String?
    /// When the connection state last changed; year 1 means never.
    public var connectionStateUpdatedTime: String?
    /// When the status last changed; year 1 means never.
    public var statusUpdatedTime: String?
    /// When the device was last heard of; year 1 means never.
    public var lastActivityTime: String?
    /// How many commands wait for the device.
    public var cloudToDeviceMessageCount: Int?
    /// How the device signs in.
    public var authentication: Authentication?
    /// What the device is able to do.
    public var capabilities: Capabilities?
    /// The scope of an Edge device or of a child of one.
    public var deviceScope: String?
    /// The scopes of the parents.
    public var parentScopes: [String]?

    /// Makes an identity that asks the hub for everything it decides by itself.
    public init(deviceID: String) {
        self.deviceID = deviceID
    }

    private enum CodingKeys: String, CodingKey {
        case deviceID = "deviceId"
        case generationID = "generationId"
        case etag, connectionState, status, statusReason, connectionStateUpdatedTime, statusUpdatedTime
        case lastActivityTime, cloudToDeviceMessageCount, authentication, capabilities, deviceScope, parentScopes
    }

    /// How a device signs in.
    public struct Authentication: Codable, Hashable, Sendable {
        /// The two keys of a device that signs in with tokens.
        public var symmetricKey: SymmetricKey?
        /// The two thumbprints of a device that signs in with its own certificate.
        public var x509Thumbprint: Thumbprint?
        /// `sas`, `selfSigned`, `certificateAuthority` or `none`.
        public var type: String?

        /// Sign-in by tokens; a key that is nil is made by the hub.
        public static func keys(primary: String?, secondary: String?) -> Authentication {
            .init(symmetricKey: .init(primaryKey: primary, secondaryKey: secondary), type: "sas")
        }

        /// Sign-in by a certificate of one's own.
        public static func thumbprints(primary: String?, secondary: String?) -> Authentication {
            let pair = Thumbprint(primaryThumbprint: primary, secondaryThumbprint: secondary)
            return .init(x509Thumbprint: pair, type: "selfSigned")
        }

        /// Sign-in by any certificate that a registered authority issued in the identity's name.
        public static var byAuthority: Authentication { .init(type: "certificateAuthority") }
    }

    /// Two keys as base64 text.
    public struct SymmetricKey: Codable, Hashable, Sendable {
        /// The first key.
        public var primaryKey: String?
        /// The second key, for changing keys without a pause.
        public var secondaryKey: String?
    }

    /// Two thumbprints as hexadecimal text.
    public struct Thumbprint: Codable, Hashable, Sendable {
        /// The first thumbprint.
        public var primaryThumbprint: String?
        /// The second thumbprint.
        public var secondaryThumbprint: String?
    }

    /// What a device is able to do.
    public struct Capabilities: Codable, Hashable, Sendable {
        /// Whether it runs IoT Edge.
        public var iotEdge: Bool?

        /// Makes capabilities.
        public init(iotEdge: Bool?) {
            self.iotEdge = iotEdge
        }
    }
}
