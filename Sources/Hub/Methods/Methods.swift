// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import HubModel
import JSON
import NIOCore
import Synchronization

/// Calls methods of devices and modules, and waits for their answers; nothing of it is stored.
public final class Methods: Sendable {
    private struct OpenCall {
        let connectionNumber: UInt64
        let continuation: CheckedContinuation<MethodResult, any Error>
        let deadline: NIODeadline
    }

    private struct State {
        var calls: [UInt64: OpenCall] = [:]
        /// The calls that wait for the answers of a connection.
        var callsOfConnection: [UInt64: Set<UInt64>] = [:]
        /// When the next look at the deadlines of the calls is due; nil while none is.
        var lookAt: NIODeadline?
        var waitingForConnection: [IdentityID: [UInt64: CheckedContinuation<Void, Never>]] = [:]
    }

    /// The limits of a call.
    public let limits: MethodLimits
    private let directory: Directory
    private let identities: any IdentityStore
    private let salt = UInt64.random(in: .min ... .max)
    private let lastNumber = Atomic<UInt64>(0)
    private let state = Mutex(State())

    init(directory: Directory, identities: any IdentityStore, limits: MethodLimits) {
        self.directory = directory
        self.identities = identities
        self.limits = limits
    }

    // MARK: Back ends

    /// Calls a method and returns the answer.
    ///
    /// Time-outs beyond the limits are clamped to them; a response time-out of 0 is the default.
    ///
    /// - Throws: `HubError`: `.argumentInvalid`, `.messageTooLarge`, `.deviceNotFound`, `.moduleNotFound`,
    ///   `.deviceNotOnline`, `.deviceConnectionClosedRemotely`, `.gatewayTimeout`, `.invalidResponseWhileProxying`,
    ///   `.deviceMaximumInflightMethodExceeded`; `CancellationError` where the caller no longer waits
    public func invoke(_ id: IdentityID, _ request: MethodRequest) async throws -> MethodResult {
        try self.check(request)
        let peer = try await self.connection(of: id, patienceSeconds: request.connectTimeoutSeconds)
        return try await self.call(id, request, link: peer.link, connectionNumber: peer.connectionNumber)
    }

    /// The connection of an identity that takes methods, as soon as there is one.
    private func connection(
        of id: IdentityID,
        patienceSeconds: Int
    ) async throws -> (link: DeviceLink, connectionNumber: UInt64) {
        // Who is connected is registered: no need to ask the store, whose threads cost more than all the rest.
        if let peer = self.directory.link(of: id, wanting: .methods) { return peer }
        if try await self.identities.identity(id) == nil { throw try await self.notFound(id) }
        let patience = min(max(0, patienceSeconds), self.limits.connectTimeoutSecondsMax)
        let end = ContinuousClock.now + .seconds(patience)
        while true {
            if let peer = self.directory.link(of: id, wanting: .methods) { return peer }
            guard ContinuousClock.now < end else {
                throw HubError(.deviceNotOnline, "Timed out waiting for device to connect.")
            }
            await self.waitForConnection(of: id, until: end)
            try Task.checkCancellation()
        }
    }

    private func notFound(_ id: IdentityID) async throws -> HubError {
        if let module = id.module, try await self.identities.identity(IdentityID(device: id.device)) != nil {
            return HubError(.moduleNotFound, "The module with ID '\(module)' of device '\(id.device)' was not found.")
        }
        return HubError(.deviceNotFound, "The device with ID '\(id.device)' was not found.")
    }

    private func check(_ request: MethodRequest) throws(HubError) {
        // Not what Swift calls a character: any number of accents stands on one, and the name goes into a topic.
        guard !request.name.isEmpty, request.name.utf16.count <= self.limits.nameLengthMax else {
            throw HubError(.argumentInvalid, "The name of a method has 1 to \(self.limits.nameLengthMax) characters.")
        }
        guard request.name.unicodeScalars.allSatisfy(Self.isInNames) else {
            throw HubError(.argumentInvalid, "The name of a method has no '/', '?', '#', '+' or control characters.")
        }
        guard request.payload.readableBytes <= self.limits.payloadBytesMax else {
            throw HubError(.messageTooLarge, "The payload is larger than \(self.limits.payloadBytesMax) bytes.")
        }
    }

    /// A name is a level of an MQTT topic, followed by `/?$rid=` (docs/wire/mqtt.md#methods).
    private static func isInNames(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "/", "?", "#", "+": false
        default: scalar.properties.generalCategory != .control
        }
    }

    private func responseSeconds(_ request: MethodRequest) -> Int {
        guard request.responseTimeoutSeconds != 0 else { return self.limits.responseTimeoutSecondsDefault }
        let allowed = self.limits.responseTimeoutSeconds
        return min(max(request.responseTimeoutSeconds, allowed.lowerBound), allowed.upperBound)
    }

    private func call(
        _ id: IdentityID,
        _ request: MethodRequest,
        link: DeviceLink,
        connectionNumber: UInt64
    ) async throws -> MethodResult {
        let number = self.nextNumber()
        let call = MethodCall(
            id: MethodCallID(number: number, salt: self.salt),
            name: request.name,
            payload: request.payload
        )
        let deadline = link.eventLoop.now + .seconds(Int64(self.responseSeconds(request)))
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let entry = OpenCall(connectionNumber: connectionNumber, continuation: continuation, deadline: deadline)
                guard self.open(number, entry) else { return continuation.resume(throwing: Self.tooMany) }
                self.look(at: deadline, on: link.eventLoop)
                // Both may have happened before the call stood in the table.
                if Task.isCancelled {
                    self.end(number, .failure(CancellationError()))
                    return
                }
                guard self.directory.link(of: id, wanting: .methods)?.connectionNumber == connectionNumber else {
                    self.end(number, .failure(Self.connectionEnded))
                    return
                }
                link.deliver(.methodCall(call))
            }
        } onCancel: {
            self.end(number, .failure(CancellationError()))
        }
    }

    // MARK: Devices

    /// Takes an answer of a connection; false where nobody waits for it on that connection.
    func answered(_ number: UInt64, connectionNumber: UInt64, _ result: MethodResult) -> Bool {
        let isOwn = self.state.withLock { $0.calls[number]?.connectionNumber == connectionNumber }
        guard isOwn else { return false }
        return self.end(number, self.isAnswer(result) ? .success(result) : .failure(Self.noAnswer))
    }

    /// Whether a call waits for its answer.
    func isOpen(_ number: UInt64) -> Bool { self.state.withLock { $0.calls[number] != nil } }

    /// The call of a UUID, nil where it is none of this hub's.
    func callID(uuid: some Sequence<UInt8>) -> MethodCallID? { MethodCallID(uuid: uuid, salt: self.salt) }

    /// Wakes those who wait for an identity to connect.
    func becameAvailable(_ id: IdentityID) {
        let waiting = self.state.withLock { $0.waitingForConnection.removeValue(forKey: id) }
        for continuation in (waiting ?? [:]).values { continuation.resume() }
    }

    /// Ends the calls that wait for the answers of a connection.
    func connectionEnded(_ connectionNumber: UInt64) {
        let numbers = self.state.withLock { $0.callsOfConnection[connectionNumber] }
        for number in numbers ?? [] { self.end(number, .failure(Self.connectionEnded)) }
    }

    private func isAnswer(_ result: MethodResult) -> Bool {
        guard result.payload.readableBytes > 0 else { return true }
        guard result.payload.readableBytes <= self.limits.payloadBytesMax else { return false }
        let limits = JSONLimits(bytesMax: self.limits.payloadBytesMax)
        return (try? JSONDocument(parsing: result.payload, limits: limits)) != nil
    }

    // MARK: The table

    private func open(_ number: UInt64, _ call: OpenCall) -> Bool {
        self.state.withLock { state in
            let others = state.callsOfConnection[call.connectionNumber]?.count ?? 0
            guard others < self.limits.inFlightPerIdentityMax else { return false }
            state.calls[number] = call
            state.callsOfConnection[call.connectionNumber, default: []].insert(number)
            return true
        }
    }

    @discardableResult
    private func end(_ number: UInt64, _ outcome: Result<MethodResult, any Error>) -> Bool {
        let call = self.state.withLock { state -> OpenCall? in
            guard let call = state.calls.removeValue(forKey: number) else { return nil }
            state.callsOfConnection[call.connectionNumber]?.remove(number)
            if state.callsOfConnection[call.connectionNumber]?.isEmpty == true {
                state.callsOfConnection[call.connectionNumber] = nil
            }
            return call
        }
        guard let call else { return false }
        call.continuation.resume(with: outcome)
        return true
    }

    // MARK: Time

    /// Sees to it that calls are looked at when this deadline is over.
    ///
    /// One timer for all calls, and none is cancelled: that costs a look at all timers of the loop, those of all idle
    /// devices among them.
    private func look(at deadline: NIODeadline, on eventLoop: any EventLoop) {
        let isSooner = self.state.withLock { state in
            if let lookAt = state.lookAt, lookAt <= deadline { return false }
            state.lookAt = deadline
            return true
        }
        guard isSooner else { return }
        eventLoop.scheduleTask(deadline: deadline) { self.endOverdue(at: deadline, on: eventLoop) }
    }

    private func endOverdue(at lookAt: NIODeadline, on eventLoop: any EventLoop) {
        let now = eventLoop.now
        let (overdue, next) = self.state.withLock { state in
            // A look that became due sooner has taken this one's place, and sees to the next.
            if state.lookAt == lookAt { state.lookAt = nil }
            return (
                state.calls.filter { $0.value.deadline <= now }.map(\.key),
                state.lookAt == nil ? state.calls.values.map(\.deadline).filter { $0 > now }.min() : nil
            )
        }
        for number in overdue { self.end(number, .failure(Self.timedOut)) }
        if let next { self.look(at: next, on: eventLoop) }
    }

    // MARK: Waiting for a connection

    private func waitForConnection(of id: IdentityID, until end: ContinuousClock.Instant) async {
        let number = self.nextNumber()
        let timer = Task {
            try await Task.sleep(until: end)
            self.stopWaiting(number, for: id)
        }
        // Callers are many and patient: no timer may outlive its caller.
        defer { timer.cancel() }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                self.state.withLock { $0.waitingForConnection[id, default: [:]][number] = continuation }
                // Whatever happened before it stood in the table woke nobody.
                let isOver = Task.isCancelled || ContinuousClock.now >= end
                if isOver || self.directory.link(of: id, wanting: .methods) != nil {
                    self.stopWaiting(number, for: id)
                }
            }
        } onCancel: {
            self.stopWaiting(number, for: id)
        }
    }

    private func stopWaiting(_ number: UInt64, for id: IdentityID) {
        let continuation = self.state.withLock { state -> CheckedContinuation<Void, Never>? in
            let continuation = state.waitingForConnection[id]?.removeValue(forKey: number)
            if state.waitingForConnection[id]?.isEmpty == true { state.waitingForConnection[id] = nil }
            return continuation
        }
        continuation?.resume()
    }

    private func nextNumber() -> UInt64 { self.lastNumber.wrappingAdd(1, ordering: .relaxed).newValue }

    private static let timedOut = HubError(.gatewayTimeout, "Timed out waiting for the response from device.")
    private static let connectionEnded = HubError(
        .deviceConnectionClosedRemotely,
        "The device's connection ended before it answered."
    )
    private static let tooMany = HubError(
        .deviceMaximumInflightMethodExceeded,
        "As many calls wait for the device's answers as may."
    )
    private static let noAnswer = HubError(
        .invalidResponseWhileProxying,
        "The device's answer is no JSON, or larger than an answer may be."
    )
}
