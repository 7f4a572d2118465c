// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import EmbeddedStore

extension Setting {
    /// The state database: what may wait for it, and what it does where the disk is almost full.
    static let stateStore: [Setting] = [
        .number(
            "stateStore.readers",
            \.stateStore.readersMax,
            1...64,
            "Connections that read from the state database at the same time."
        ),
        .number(
            "stateStore.waitingChanges",
            \.stateStore.waitingStepsMax,
            100...10_000_000,
            "Changes that may wait to be stored; beyond, they are refused."
        ),
        .number(
            "stateStore.waitingBytes",
            \.stateStore.waitingBytesMax,
            1_048_576...17_179_869_184,
            "Bytes of messages and patches that may wait to be stored; beyond, they are refused."
        ),
        .number(
            "stateStore.busyMilliseconds",
            \.stateStore.busyMilliseconds,
            0...600_000,
            "How long the hub waits where another process has the state database locked."
        ),
        .number(
            "stateStore.journalBytes",
            \.stateStore.journalBytesMax,
            1_048_576...17_179_869_184,
            "How long the journal of the state database may become before it is cut."
        ),
        .number(
            "stateStore.commitsPerLook",
            \.stateStore.commitsPerLook,
            1...1_000_000,
            "After how many commits the journal's length is looked at."
        ),
        .number(
            "stateStore.freeBytes",
            \.stateStore.freeBytesReserved,
            0...1_099_511_627_776,
            "Space that is kept free for settling and deleting: with less, nothing new is stored."
        ),
        .number(
            "stateStore.reserveBytes",
            \.stateStore.reserveBytes,
            65_536...1_099_511_627_776,
            "Size of a file that is removed where the disk is full nevertheless, so that settling and deleting go on."
        ),
    ]
}
