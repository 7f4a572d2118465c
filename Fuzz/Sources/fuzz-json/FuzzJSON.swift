// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import FuzzDriver

/// Fuzzes the JSON parser and writer.
@main
struct FuzzJSON {
    static func main() { fuzz(exerciseJSON) }
}
