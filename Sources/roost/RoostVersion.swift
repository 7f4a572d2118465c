// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// The version of this program.
enum RoostVersion {
    /// Semantic version of the release that this source becomes.
    static let current = "0.1.0"
}
