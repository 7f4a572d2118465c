// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// A point in time as devices write it: ISO 8601 with a `T` or a space, any number of fraction digits, and `Z`, an offset or
/// nothing at the end, which then means UTC.
///
/// .NET writes seven fraction digits and `Z`, Python's `isoformat` six or none and `+00:00` or nothing.
enum Timestamp {
    /// Milliseconds since 1970 UTC, nil for what is not a time.
    static func milliseconds(_ text: UnsafeRawBufferPointer) -> Int64? {
        var reader = Reader(text: text)
        guard let year = reader.number(digits: 4), reader.take("-"),
            let month = reader.number(digits: 2), (1...12).contains(month), reader.take("-"),
            let day = reader.number(digits: 2), (1...31).contains(day), reader.take("T") || reader.take(" "),
            let hour = reader.number(digits: 2), hour < 24, reader.take(":"),
            let minute = reader.number(digits: 2), minute < 60
        else { return nil }
        var second: Int64 = 0
        if reader.take(":") {
            guard let value = reader.number(digits: 2), value < 61 else { return nil }
            second = value
        }
        let fraction = reader.take(".") ? reader.fractionMilliseconds() : 0
        guard let fraction, let offset = reader.offsetMinutes(), reader.isAtEnd else { return nil }
        let minutes = (daysSince1970(year, month, day) * 24 + hour) * 60 + minute - offset
        return (minutes * 60 + second) * 1000 + fraction
    }

    /// Days in the proleptic Gregorian calendar, by the well-known counting from March.
    private static func daysSince1970(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        let year = month <= 2 ? year - 1 : year
        let era = (year >= 0 ? year : year - 399) / 400
        let yearOfEra = year - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }

    private struct Reader {
        let text: UnsafeRawBufferPointer
        var index = 0

        var isAtEnd: Bool { index == text.count }

        mutating func take(_ character: Unicode.Scalar) -> Bool {
            guard index < text.count, text[index] == UInt8(ascii: character) else { return false }
            index += 1
            return true
        }

        mutating func digit() -> Int64? {
            guard index < text.count, case UInt8(ascii: "0")...UInt8(ascii: "9") = text[index] else { return nil }
            index += 1
            return Int64(text[index - 1] - UInt8(ascii: "0"))
        }

        mutating func number(digits: Int) -> Int64? {
            var value: Int64 = 0
            for _ in 0..<digits {
                guard let digit = digit() else { return nil }
                value = value * 10 + digit
            }
            return value
        }

        /// At least one digit; those after the third don't matter.
        mutating func fractionMilliseconds() -> Int64? {
            guard let first = digit() else { return nil }
            var value = first * 100
            var weight: Int64 = 10
            while let digit = digit() {
                value += digit * weight
                weight /= 10
            }
            return value
        }

        mutating func offsetMinutes() -> Int64? {
            if isAtEnd || take("Z") { return 0 }
            let sign: Int64
            if take("+") {
                sign = 1
            } else if take("-") {
                sign = -1
            } else {
                return nil
            }
            guard let hours = number(digits: 2) else { return nil }
            _ = take(":")
            guard let minutes = number(digits: 2) else { return nil }
            return sign * (hours * 60 + minutes)
        }
    }
}
