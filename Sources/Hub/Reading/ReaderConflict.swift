// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// Why a reader of a partition may not stay or come, with the text that clients match on
/// (docs/wire/event-hubs.md#readers).
public struct ReaderConflict: Error, Hashable, Sendable {
    /// What kind of conflict it is.
    public enum Kind: Sendable, Hashable {
        /// Another reader owns the partition or has taken it.
        case stolen
        /// As many readers as allowed are there already.
        case tooMany
    }

    /// What kind of conflict it is.
    public let kind: Kind
    /// The sentence for the client.
    public let message: String

    static func displaced(_ old: String?, epoch: Int64, by new: String?, epoch newEpoch: Int64) -> ReaderConflict {
        ReaderConflict(
            kind: .stolen,
            message:
                "New receiver '\(new ?? "nil")' with higher epoch of '\(newEpoch)' is created hence current receiver "
                + "'\(old ?? "nil")' with epoch '\(epoch)' is getting disconnected. If you are recreating the receiver, "
                + "make sure a higher epoch is used."
        )
    }

    static func lowerEpoch(_ new: String?, epoch: Int64, than old: String?, epoch oldEpoch: Int64) -> ReaderConflict {
        ReaderConflict(
            kind: .stolen,
            message: "Receiver '\(old ?? "nil")' with a higher epoch '\(oldEpoch)' already exists. Receiver "
                + "'\(new ?? "nil")' with epoch \(epoch) cannot be created. Make sure you are creating receiver with "
                + "increasing epoch value to ensure connectivity, or ensure all old epoch receivers are closed or "
                + "disconnected."
        )
    }

    static func epochNeeded(_ epoch: Int64) -> ReaderConflict {
        ReaderConflict(
            kind: .stolen,
            message: "At least one receiver for the endpoint is created with epoch of '\(epoch)', and so non-epoch "
                + "receiver is not allowed. Either reconnect with a higher epoch, or make sure all epoch receivers are "
                + "closed or disconnected."
        )
    }

    static func tooMany(_ names: [String?], max: Int) -> ReaderConflict {
        ReaderConflict(
            kind: .tooMany,
            message:
                "Exceeded the maximum number of allowed receivers per partition in a consumer group which is \(max). "
                + "List of connected receivers - \(names.map { $0 ?? "nil" }.joined(separator: ", "))."
        )
    }
}
