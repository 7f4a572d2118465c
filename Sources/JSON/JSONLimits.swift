// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// The bounds that a JSON text must keep to be parsed.
public struct JSONLimits: Sendable, Hashable {
    /// How many bytes the text may have.
    public var bytesMax: Int

    /// How many objects and arrays may be open at once.
    public var depthMax: Int

    /// Limits for the bodies that services and devices send.
    ///
    /// - Parameters:
    ///   - bytesMax: the largest text in bytes, at most 4 GiB less one
    ///   - depthMax: the deepest nesting; a bare number has depth 0, `[]` has depth 1
    public init(bytesMax: Int = 16 * 1024 * 1024, depthMax: Int = 64) {
        self.bytesMax = min(bytesMax, Int(UInt32.max) - 1)
        self.depthMax = depthMax
    }
}
