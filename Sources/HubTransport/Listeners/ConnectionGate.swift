// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Synchronization

/// Decides which new connections come in: bounds on all of them, and on those that have not signed in.
///
/// One gate is shared by all listeners. Safe to use from any thread; no call blocks.
public final class ConnectionGate: Sendable {
    /// Why a connection was not let in.
    public enum Refusal: String, Sendable, CaseIterable {
        /// As many connections are open as the limits or the descriptors allow.
        case full
        /// Too many connections have not signed in yet.
        case unauthenticated
        /// Too many connections of this source have not signed in yet.
        case unauthenticatedFromSource
        /// The hub lets connections in at a bounded rate while it can't store.
        case rate
    }

    /// What the gate counted.
    public struct Counts: Sendable {
        /// Connections open now, with those being refused.
        public var open = 0
        /// Connections that have not signed in yet.
        public var unauthenticated = 0
        /// Connections let in since the start.
        public var admitted = 0
        /// Connections refused since the start, by reason.
        public var refused: [Refusal: Int] = [:]
    }

    enum Admission {
        case admitted
        /// Not admitted, but there is room to say so in the protocol.
        case explain(Refusal)
        /// Not admitted; closed without a word.
        case drop(Refusal)
    }

    private struct State {
        var counts = Counts()
        var refusing = 0
        var bySource: [Source: Int] = [:]
        var bucket: RateBucket?
    }

    private let limits: TransportLimits
    private let state = Mutex(State())

    /// A gate with these bounds.
    public init(limits: TransportLimits) {
        self.limits = limits
    }

    /// The counts now.
    public var counts: Counts { state.withLock { $0.counts } }

    /// Lets at most this many connections in per second from now on; nil takes the bound away.
    public func limitRate(perSecond: Int?) {
        state.withLock { $0.bucket = perSecond.map { RateBucket(perSecond: $0) } }
    }

    func admit(_ source: Source, now: NIODeadline) -> Admission {
        state.withLock { state in
            guard let refusal = refusal(source, now: now, &state) else {
                state.counts.open += 1
                state.counts.admitted += 1
                state.counts.unauthenticated += 1
                state.bySource[source, default: 0] += 1
                return .admitted
            }
            state.counts.refused[refusal, default: 0] += 1
            // A flood isn't worth an explanation, and a full table has no room for many.
            guard refusal == .full || refusal == .rate, state.refusing < limits.refusalsMax else {
                return .drop(refusal)
            }
            state.refusing += 1
            return .explain(refusal)
        }
    }

    /// The connection has signed in, or closed before it did.
    func authenticated(_ source: Source) {
        state.withLock { state in
            state.counts.unauthenticated -= 1
            if let count = state.bySource[source], count > 1 {
                state.bySource[source] = count - 1
            } else {
                state.bySource[source] = nil
            }
        }
    }

    func closed() { state.withLock { $0.counts.open -= 1 } }

    func refusalEnded() { state.withLock { $0.refusing -= 1 } }

    private func refusal(_ source: Source, now: NIODeadline, _ state: inout State) -> Refusal? {
        guard state.counts.open < limits.connectionsMax else { return .full }
        guard state.bySource[source, default: 0] < limits.unauthenticatedPerSourceMax else {
            return .unauthenticatedFromSource
        }
        guard state.counts.unauthenticated < limits.unauthenticatedMax else { return .unauthenticated }
        return state.bucket?.take(now: now) == false ? .rate : nil
    }
}

/// Where a connection comes from, as far as floods are told apart.
enum Source: Hashable, Sendable {
    case ipv4(UInt32)
    /// The first 64 bits: one subscriber's network.
    case ipv6(UInt64)
    case other

    init(_ address: SocketAddress?) {
        switch address {
        case .v4:
            // The address stands at byte 4 of sockaddr_in and at byte 8 of sockaddr_in6.
            self =
                address?.withSockAddr { pointer, _ in
                    .ipv4(UnsafeRawPointer(pointer).loadUnaligned(fromByteOffset: 4, as: UInt32.self).bigEndian)
                } ?? .other
        case .v6:
            self =
                address?.withSockAddr { pointer, _ in
                    let high = UnsafeRawPointer(pointer).loadUnaligned(fromByteOffset: 8, as: UInt64.self).bigEndian
                    let low = UnsafeRawPointer(pointer).loadUnaligned(fromByteOffset: 16, as: UInt64.self).bigEndian
                    // ::ffff:a.b.c.d is IPv4 on a socket that serves both.
                    return high == 0 && low >> 32 == 0xffff ? .ipv4(UInt32(truncatingIfNeeded: low)) : .ipv6(high)
                } ?? .other
        case .unixDomainSocket, nil: self = .other
        }
    }
}

/// So many permits a second, and as many at once.
struct RateBucket {
    private let perSecond: Int
    private var permits: Double
    private var filled: NIODeadline?

    init(perSecond: Int) {
        self.perSecond = perSecond
        permits = Double(perSecond)
    }

    mutating func take(now: NIODeadline) -> Bool {
        if let filled {
            let seconds = Double((now - filled).nanoseconds) / 1e9
            permits = min(Double(perSecond), permits + seconds * Double(perSecond))
        }
        filled = now
        guard permits >= 1 else { return false }
        permits -= 1
        return true
    }
}
