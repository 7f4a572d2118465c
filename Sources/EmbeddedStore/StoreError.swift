// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import GRDB
import HubModel

/// Tells what a failure of SQLite means to the hub.
enum StoreError {
    /// The error as the hub knows it; one that is the hub's already stays.
    static func hubError(_ error: any Error) -> any Error {
        guard let error = error as? DatabaseError else { return error }
        switch error.resultCode {
        case .SQLITE_FULL: return HubError(.storageFull, "The disk of the state database is full.")
        case .SQLITE_CORRUPT, .SQLITE_NOTADB:
            return HubError(.storageCorrupt, "The state database is damaged; restore it from a backup.")
        default:
            // The number is safe to print; the text could hold values.
            let code = error.extendedResultCode.rawValue
            return HubError(.serviceUnavailable, "The state database failed with SQLite error \(code).")
        }
    }
}
