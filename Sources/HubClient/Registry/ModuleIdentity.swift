// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// The identity of a module as the registry's API shows it.
///
/// What a client does not set is left out when it writes; what the hub did not send is nil when it reads.
public struct ModuleIdentity: Codable, Hashable, Sendable {
    /// The id of the device that the module is part of.
    public var deviceID: String
    /// The id of the module.
    public var moduleID: String
    /// Who manages it, in free words; `IotEdge` for modules of an Edge device.
    public var managedBy: String?
    /// Tells a module from an earlier one with the same id.
    public var generationID: String?
    /// Changes with every change of the identity.
    public var etag: String?
    /// `Connected` or `Disconnected`.
    public var connectionState: String?
    /// When the connection state last changed; year 1 means never.
    public var connectionStateUpdatedTime: String?
    /// When the module was last heard of; year 1 means never.
    public var lastActivityTime: String?
    /// How the module signs in.
    public var authentication: DeviceIdentity.Authentication?

    /// Makes an identity that asks the hub for everything it decides by itself.
    public init(deviceID: String, moduleID: String) {
        self.deviceID = deviceID
        self.moduleID = moduleID
    }

    private enum CodingKeys: String, CodingKey {
        case deviceID = "deviceId"
        case moduleID = "moduleId"
        case generationID = "generationId"
        case managedBy, etag, connectionState, connectionStateUpdatedTime, lastActivityTime, authentication
    }
}
