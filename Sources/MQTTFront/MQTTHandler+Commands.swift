// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// The commands of one connection that are under way.
struct CommandFlow {
    /// How many are being settled.
    var settling = 0
}

/// Commands, from the device's queue to the client (docs/wire/mqtt.md#commands).
extension MQTTHandler {
    /// Asks the hub for as many commands as the client may be sent now.
    func askForCommands() {}

    /// PUBACK: the client has taken the command that has this number.
    func commandAcknowledged(_ number: UInt64) {}
}
