// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Glibc
import Synchronization

/// Writes log lines to a descriptor from a queue of its own, so that a reader that has stopped never stops the hub.
///
/// What waits is bounded; lines beyond it are dropped, and counted in a line of their own.
final class LogSink: Sendable {
    private struct State {
        var waiting: [UInt8] = []
        var dropped = 0
        var isWriting = false
    }

    private let descriptor: Int32
    private let bytesMax: Int
    private let queue = DispatchQueue(label: "roost.log")
    private let state = Mutex(State())

    init(descriptor: Int32, bytesMax: Int = 1 << 20) {
        self.descriptor = descriptor
        self.bytesMax = bytesMax
    }

    /// Takes one line, without its end.
    func write(_ line: String) {
        let starts = state.withLock { state in
            guard state.waiting.count + line.utf8.count < bytesMax else {
                state.dropped += 1
                return false
            }
            state.waiting.append(contentsOf: line.utf8)
            state.waiting.append(0x0a)
            defer { state.isWriting = true }
            return !state.isWriting
        }
        if starts { queue.async { self.drain() } }
    }

    /// Waits until everything taken so far is written.
    func flush() {
        queue.sync {}
    }

    private func drain() {
        while true {
            let (bytes, dropped) = state.withLock { state in
                let taken = (state.waiting, state.dropped)
                state.waiting = []
                state.dropped = 0
                state.isWriting = !taken.0.isEmpty || taken.1 > 0
                return taken
            }
            if bytes.isEmpty && dropped == 0 { return }
            writeAll(bytes)
            if dropped > 0 {
                writeAll(Array("roost: \(dropped) log lines were dropped: the log is read too slowly\n".utf8))
            }
        }
    }

    private func writeAll(_ bytes: [UInt8]) {
        var offset = 0
        while offset < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.write(descriptor, $0.baseAddress?.advanced(by: offset), bytes.count - offset)
            }
            if count < 0 && errno == EINTR { continue }
            // A log that can't be written is no reason to stop serving, and there is nowhere else to say so.
            guard count > 0 else { return }
            offset += count
        }
    }
}
