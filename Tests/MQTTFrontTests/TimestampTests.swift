// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import MQTTFront

@Suite struct TimestampTests {
    private func milliseconds(_ text: String) -> Int64? {
        Array(text.utf8).withUnsafeBytes { Timestamp.milliseconds($0) }
    }

    @Test(arguments: [
        ("1970-01-01T00:00:00Z", 0), ("2024-01-01T00:00:00.0000000Z", 1_704_067_200_000),
        ("2024-02-29T12:34:56.789Z", 1_709_210_096_789), ("2024-02-29T12:34:56.7891234+00:00", 1_709_210_096_789),
        ("2024-02-29 12:34:56", 1_709_210_096_000), ("2024-02-29T14:04:56+01:30", 1_709_210_096_000),
        ("2024-02-29T12:34:56.1-00:00", 1_709_210_096_100), ("1969-12-31T23:59:59Z", -1000),
        ("2024-03-01T00:00Z", 1_709_251_200_000), ("2000-03-01T00:00:00Z", 951_868_800_000),
    ])
    func `what SDKs write is a time`(_ text: String, _ expected: Int64) {
        #expect(milliseconds(text) == expected)
    }

    @Test(arguments: [
        "", "tomorrow", "2024", "2024-13-01T00:00:00Z", "2024-01-00T00:00:00Z", "2024-01-01T24:00:00Z",
        "2024-01-01T00:60:00Z", "2024-01-01T00:00:00.Z", "2024-01-01T00:00:00Zx", "2024-01-01T00:00:00+1",
        "2024-01-01T00:00:00 UTC", "24-01-01T00:00:00Z",
    ])
    func `anything else is not`(_ text: String) {
        #expect(milliseconds(text) == nil)
    }
}
