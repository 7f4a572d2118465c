// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// The option that gives a message its properties.
enum PropertyOption {
    /// Refuses texts that are not `NAME=VALUE` or `NAME`.
    static func check(_ properties: [String]) throws {
        for property in properties where property.isEmpty || property.hasPrefix("=") {
            throw ValidationError("--property is NAME=VALUE, not '\(property)'.")
        }
    }
}
