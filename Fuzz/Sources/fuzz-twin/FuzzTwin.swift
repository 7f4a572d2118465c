// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import FuzzDriver

/// Fuzzes changes of twins, one on top of the other.
@main
struct FuzzTwin {
    static func main() { fuzz(exerciseTwin) }
}
