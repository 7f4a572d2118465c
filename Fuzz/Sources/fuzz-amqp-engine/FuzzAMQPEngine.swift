// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import FuzzDriver

/// Fuzzes the rules of an AMQP connection, session and link.
@main
struct FuzzAMQPEngine {
    static func main() { fuzz(exerciseAMQPEngine) }
}
