// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// What the operating system lets this process have.
enum ProcessLimits {
    /// Descriptors that are not connections: journals, the store, listeners, event loops.
    static let reservedDescriptors = 256

    /// Raises the limit of open files to the hard one.
    ///
    /// - Returns: how many files may be open now.
    static func raiseDescriptors() -> Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1_024 }
        var raised = limit
        raised.rlim_cur = limit.rlim_max
        let result = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &raised) == 0 ? raised : limit
        return Int(clamping: result.rlim_cur)
    }

    /// How many connections fit beside what else needs descriptors.
    static func connections(descriptors: Int, configured: Int) -> Int {
        max(1, min(configured, descriptors - min(reservedDescriptors, descriptors / 2)))
    }
}
