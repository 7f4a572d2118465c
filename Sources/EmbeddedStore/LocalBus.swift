// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import HubModel
import Synchronization

/// The bus of a hub that is one process: a broadcast is a call.
public final class LocalBus: HubBus {
    private let listeners = Mutex<[@Sendable (HubSignal) -> Void]>([])

    /// Makes a bus that nobody listens to yet.
    public init() {}

    /// Calls every listener, one after the other, on the caller's thread.
    public func broadcast(_ signal: HubSignal) {
        for listener in listeners.withLock({ $0 }) {
            listener(signal)
        }
    }

    /// Adds a listener.
    public func listen(_ receive: @escaping @Sendable (HubSignal) -> Void) {
        listeners.withLock { $0.append(receive) }
    }
}
