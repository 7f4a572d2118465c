// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import FuzzDriver

/// Fuzzes the MQTT decoder and the session rules.
@main
struct FuzzMQTT {
    static func main() { fuzz(exerciseMQTT) }
}
