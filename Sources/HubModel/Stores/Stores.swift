// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// The stores that a hub stands on.
public struct Stores: Sendable {
    /// Identities, policies and subscriptions.
    public let identities: any IdentityStore
    /// Events.
    public let events: any EventStore
    /// Twins.
    public let twins: any TwinStore
    /// Commands and feedback.
    public let commands: any CommandStore
    /// Certificate authorities.
    public let authorities: any AuthorityStore
    /// What was last known of connections.
    public let presences: any PresenceStore
    /// What nodes tell each other.
    public let bus: any HubBus

    /// Puts stores together.
    public init(
        identities: any IdentityStore,
        events: any EventStore,
        twins: any TwinStore = NoTwins(),
        commands: any CommandStore = NoCommands(),
        authorities: any AuthorityStore = NoAuthorities(),
        presences: any PresenceStore = NoPresences(),
        bus: any HubBus
    ) {
        self.identities = identities
        self.events = events
        self.twins = twins
        self.commands = commands
        self.authorities = authorities
        self.presences = presences
        self.bus = bus
    }
}
