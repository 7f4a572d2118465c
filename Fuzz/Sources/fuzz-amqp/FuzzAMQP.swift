// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import FuzzDriver

/// Fuzzes the AMQP decoders: frames, performatives, SASL, values and message sections.
@main
struct FuzzAMQP {
    static func main() { fuzz(exerciseAMQP) }
}
