// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import FoundationEssentials
import HubClient

extension EventPosition {
    /// Reads `start`, `end`, `sequence:N`, `offset:N` or `time:ISO`.
    ///
    /// - Throws: `ValidationError` that tells what can be said.
    init(option text: String) throws {
        guard let position = Self(text: text) else {
            throw ValidationError("'\(text)' is none of start, end, sequence:N, offset:N, time:2026-01-31T12:00:00Z.")
        }
        self = position
    }

    private init?(text argument: String) {
        switch argument {
        case "start":
            self = .earliest
            return
        case "end":
            self = .latest
            return
        default:
            break
        }
        guard let colon = argument.firstIndex(of: ":") else { return nil }
        let value = String(argument[argument.index(after: colon)...])
        switch argument[..<colon] {
        case "sequence":
            guard let number = Int64(value), number >= 0 else { return nil }
            self = .sequenceNumber(number)
        case "offset":
            guard let offset = Int64(value), offset >= -1 else { return nil }
            self = .offset(offset)
        case "time":
            guard let milliseconds = Self.milliseconds(iso8601: value) else { return nil }
            self = .enqueued(millisecondsSince1970: milliseconds)
        default:
            return nil
        }
    }

    /// Milliseconds since 1970 of `2026-11-21T10:00:00Z`, with or without a fraction, or of a date alone.
    private static func milliseconds(iso8601 text: String) -> Int64? {
        let styles: [Date.ISO8601FormatStyle] = [
            .iso8601,
            .iso8601.year().month().day().time(includingFractionalSeconds: true).timeZone(separator: .omitted),
            .iso8601.year().month().day(),
        ]
        for style in styles {
            // A style that does not fit is not a failure: the next one may.
            if let date = try? style.parse(text) {
                return Int64((date.timeIntervalSince1970 * 1000).rounded())
            }
        }
        return nil
    }
}
