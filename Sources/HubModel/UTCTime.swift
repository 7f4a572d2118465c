// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// Writes times as the JSON documents of the service API show them: `2024-03-01T10:00:00.1230000Z`.
public enum UTCTime {
    /// The text of a time that was never set.
    public static let never = "0001-01-01T00:00:00Z"

    /// How many bytes the text of a time has that was set.
    private static let sizeBytes = 28

    /// The text of a time given in milliseconds since 1970 UTC; nil is ``never``.
    public static func text(milliseconds: Int64?) -> String {
        guard let milliseconds else { return Self.never }
        var buffer = ByteBuffer()
        Self.write(milliseconds: milliseconds, to: &buffer)
        return String(buffer: buffer)
    }

    /// Writes the text of a time given in milliseconds since 1970 UTC, from year 1 to year 9999.
    public static func write(milliseconds: Int64, to buffer: inout ByteBuffer) {
        guard milliseconds > TwinStamp.never.milliseconds else {
            buffer.writeString(Self.never)
            return
        }
        let (days, inDay) = Self.divided(milliseconds, by: 86_400_000)
        let (year, month, day) = Self.date(days: days)
        let seconds = inDay / 1000
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: Self.sizeBytes) { bytes in
            var index = 0
            func put(_ number: Int64, digits: Int, _ after: UInt8) {
                var rest = number
                for offset in (0..<digits).reversed() {
                    bytes[index + offset] = UInt8(ascii: "0") + UInt8(rest % 10)
                    rest /= 10
                }
                bytes[index + digits] = after
                index += digits + 1
            }
            put(year, digits: 4, UInt8(ascii: "-"))
            put(month, digits: 2, UInt8(ascii: "-"))
            put(day, digits: 2, UInt8(ascii: "T"))
            put(seconds / 3600, digits: 2, UInt8(ascii: ":"))
            put(seconds / 60 % 60, digits: 2, UInt8(ascii: ":"))
            put(seconds % 60, digits: 2, UInt8(ascii: "."))
            // Seven digits: clients of .NET read ticks of 100 ns.
            put(inDay % 1000 * 10_000, digits: 7, UInt8(ascii: "Z"))
            return index
        }
    }

    private static func divided(_ number: Int64, by divisor: Int64) -> (quotient: Int64, remainder: Int64) {
        let (quotient, remainder) = number.quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
    }

    /// The Gregorian date of a day counted from 1970-01-01.
    ///
    /// Years are taken to begin in March, so that the leap day is the last of its year.
    private static func date(days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let (era, dayOfEra) = Self.divided(days + 719_468, by: 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let marchMonth = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * marchMonth + 2) / 5 + 1
        let month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
    }
}
