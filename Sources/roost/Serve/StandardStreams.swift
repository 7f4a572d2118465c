// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Writes to the standard streams at once, whatever they are connected to.
enum StandardStreams {
    /// What the user asked for.
    static func output(_ text: String) { write(text, to: STDOUT_FILENO) }

    /// What went wrong.
    static func error(_ text: String) { write(text, to: STDERR_FILENO) }

    private static func write(_ text: String, to descriptor: Int32) {
        let bytes = Array(text.utf8)
        var offset = 0
        while offset < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.write(descriptor, $0.baseAddress?.advanced(by: offset), bytes.count - offset)
            }
            if count < 0 && errno == EINTR { continue }
            // Nobody reads: there is nowhere else to say so.
            guard count > 0 else { return }
            offset += count
        }
    }
}
