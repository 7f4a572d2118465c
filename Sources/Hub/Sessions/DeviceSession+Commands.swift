// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import HubModel
public import NIOCore

/// Commands: the peer that wants ``Delivery/commandsWaiting`` pulls them, and settles each.
extension DeviceSession {
    /// Locks the next commands for this connection, oldest first; completes on the loop, with none where none wait.
    ///
    /// A lock ends with the connection, or where the command was not settled within the lock time; with
    /// `holdsUntilExpiry` a lock lasts until the command expires instead, for protocols that deliver nothing again on
    /// one connection and know no way to give a command back: then the end of the connection counts as one. Modules have no commands. Fails with a ``HubError``: what the store suffers.
    public func nextCommands(max: Int, holdsUntilExpiry: Bool = false) -> EventLoopFuture<[LockedCommand]> {
        guard !isClosed, identity.id.module == nil, max > 0 else { return eventLoop.makeSucceededFuture([]) }
        mayHoldCommands = true
        let promise = eventLoop.makePromise(of: [LockedCommand].self)
        hub.commands.lockNext(
            max: max,
            holdsUntilExpiry: holdsUntilExpiry,
            of: identity,
            connectionNumber: connectionNumber
        ) { promise.completeWith($0.mapError { $0 }) }
        return promise.futureResult
    }

    /// Settles a command that was locked; completes on the loop when that is durable.
    ///
    /// Settlements of one session take effect and complete in their order. Fails with a ``HubError``:
    /// `.messageLockLost` where the lock is over, or what the store suffers.
    public func settle(_ token: LockToken, _ outcome: CommandOutcome) -> EventLoopFuture<Void> {
        noteActivity()
        let promise = eventLoop.makePromise(of: Void.self)
        hub.commands.settle(token, outcome, of: identity.id.device) { promise.completeWith($0.mapError { $0 }) }
        return promise.futureResult
    }
}
