// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// The consumer groups of the built-in endpoint; `$Default` is always one of them.
public final class ConsumerGroups: Sendable {
    /// The group that every hub has.
    public static let defaultName = "$Default"

    private let names: Mutex<[String: String]>

    /// Groups of these names beside `$Default`.
    public init(_ names: [String] = []) {
        self.names = Mutex(Self.table(names))
    }

    /// Puts other groups in the place of those there are.
    public func replace(with names: [String]) {
        let table = Self.table(names)
        self.names.withLock { $0 = table }
    }

    /// The group of a name as it was configured, whatever the letter case; nil where there is none.
    public func canonical(_ name: String) -> String? {
        names.withLock { $0[name.lowercased()] }
    }

    private static func table(_ names: [String]) -> [String: String] {
        var table: [String: String] = [:]
        for name in names + [defaultName] { table[name.lowercased()] = name }
        return table
    }
}
