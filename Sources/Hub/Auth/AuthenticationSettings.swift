// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// How strictly the hub authenticates.
public struct AuthenticationSettings: Sendable, Hashable {
    /// Whether the keys printed in public documentation may be used; for tests only.
    public var allowsSampleKeys = false
    /// Whether a token for the built-in endpoint may be signed by the hub's own rule too.
    ///
    /// Listener and policies are shared by both, and tools that read events with a hub connection string sign so.
    public var acceptsHubDialectOnEventHubs = true
    /// Whether tokens of shared access policies are refused.
    public var disableLocalAuth = false
    /// Whether tokens signed with a device's own key are refused.
    public var disableDeviceSAS = false
    /// Whether tokens signed with a module's own key are refused.
    public var disableModuleSAS = false
    /// How far in the future a token may expire, in seconds; nil for any time.
    public var tokenLifetimeSecondsMax: Int64?

    /// What Azure does by default.
    public init() {}
}
