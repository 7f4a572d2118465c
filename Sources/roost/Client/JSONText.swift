// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import JSON
import NIOCore

/// A string as JSON writes it, quotes included.
func jsonText(_ text: String) -> String {
    var writer = JSONWriter()
    writer.string(text)
    return String(buffer: writer.buffer)
}
