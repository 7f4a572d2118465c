// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Hub
import HubModel

/// What a connection may do: the principals that it proved to be, each until its token ends.
struct ConnectionAccess {
    private var principals: [String: ServicePrincipal] = [:]
    /// The tokens of those principals that may act as devices, by the same keys.
    private var deviceTokens: [String: String] = [:]

    /// Whether it ever proved anything.
    private(set) var hasSignedIn = false

    /// How many principals there are.
    var count: Int { principals.count }

    /// Adds a principal, or renews the one for the same audience.
    ///
    /// - Parameters:
    ///   - principal: Who it proved to be.
    ///   - token: What it proved it with, where it may act as devices by that.
    mutating func add(_ principal: ServicePrincipal, token: String? = nil) {
        let key = Self.key(principal)
        principals[key] = principal
        deviceTokens[key] = principal.has(.deviceConnect) ? token : nil
        hasSignedIn = true
    }

    /// Notes that a device or a module signed in.
    mutating func identitySignedIn() { hasSignedIn = true }

    /// The tokens of policies that may act as the device or module of a path such as `devices/dev1`.
    func deviceTokens(covering path: String) -> [String] {
        deviceTokens.compactMap { key, token in principals[key]?.covers(path: path) == true ? token : nil }
    }

    /// Whether a principal would be a renewal.
    func has(_ principal: ServicePrincipal) -> Bool { principals[Self.key(principal)] != nil }

    /// Whether one of them may read a path of the built-in endpoint.
    func mayRead(_ path: [String]) -> Bool {
        principals.values.contains { $0.mayRead(path) }
    }

    /// Whether one of them may use what the hub offers to services at a path.
    func mayServe(_ path: [String]) -> Bool {
        principals.values.contains { $0.mayServe(path) }
    }

    /// Forgets what has ended.
    ///
    /// - Parameters:
    ///   - nowSeconds: The time of day.
    ///   - skewSeconds: How long after its end a token still counts.
    ///   - isStillGood: Whether the policy behind a principal still vouches for it; nil where none has changed.
    /// - Returns: Whether something had ended.
    mutating func removeEnded(
        nowSeconds: Int64,
        skewSeconds: Int64,
        isStillGood: ((ServicePrincipal) -> Bool)?
    ) -> Bool {
        let before = principals.count
        principals = principals.filter { _, principal in
            if let end = principal.expiresAtSeconds, nowSeconds > end, nowSeconds - end > skewSeconds { return false }
            return isStillGood?(principal) ?? true
        }
        guard principals.count < before else { return false }
        deviceTokens = deviceTokens.filter { principals[$0.key] != nil }
        return true
    }

    /// A policy's token replaces an older one of the same policy for the same audience, and no other's.
    private static func key(_ principal: ServicePrincipal) -> String {
        "\(principal.policy)\n\(principal.audiencePath.lowercased())"
    }
}
