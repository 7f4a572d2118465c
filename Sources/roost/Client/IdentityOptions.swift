// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import HubModel

/// The device that a command is about, or a module of it.
struct IdentityOptions: ParsableArguments {
    @Argument(help: .init("The id of the device.", valueName: "device"))
    var device: String

    @Option(name: .shortAndLong, help: .init("A module of the device.", valueName: "id"))
    var module: String?

    /// Its id.
    var id: IdentityID { .init(device: self.device, module: self.module) }
}
