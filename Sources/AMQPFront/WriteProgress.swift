// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// Notices that a peer takes nothing of what it was sent, however much more is written meanwhile.
struct WriteProgress {
    /// Bytes that were given to the channel.
    var written = 0
    private var taken = 0
    private var since: Int64?

    /// Takes a look.
    ///
    /// - Parameters:
    ///   - waiting: Bytes in the channel that the socket has not taken. TLS makes them more than what was written.
    ///   - now: The time.
    /// - Returns: For how many milliseconds nothing was taken of what waits.
    mutating func stalledMilliseconds(waiting: Int, now: Int64) -> Int64 {
        let before = taken
        taken = written - waiting
        guard waiting > 0, taken <= before, let since else {
            since = waiting > 0 ? now : nil
            return 0
        }
        return now - since
    }
}
