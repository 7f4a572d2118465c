// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// Times as the service API writes them.
enum DocumentTime {
    /// What stands where there never was a time; without `Z`, as the original writes it.
    static let never = "0001-01-01T00:00:00"

    /// `2025-03-28T11:22:33.1230000Z`: seven digits, for Java's SDK takes no more.
    static func iso(_ milliseconds: Int64?) -> String {
        guard let milliseconds else { return self.never }
        let parts = self.parts(milliseconds)
        let day = "\(parts.year)-\(self.two(parts.month))-\(self.two(parts.day))"
        return "\(day)T\(self.clock(parts)).\(self.digits(parts.millisecond, 3))0000Z"
    }

    /// `03/28/2025 11:22:33`, as tracking ids carry it.
    static func american(_ milliseconds: Int64) -> String {
        let parts = self.parts(milliseconds)
        return "\(self.two(parts.month))/\(self.two(parts.day))/\(parts.year) \(self.clock(parts))"
    }

    /// `Fri, 28 Mar 2025 11:22:33 GMT`, as documents about certificates carry it.
    static func rfc1123(_ milliseconds: Int64) -> String {
        let parts = self.parts(milliseconds)
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        let days = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
        let sinceThursday = self.floor(self.floor(milliseconds, 1000), 86_400)
        let day = days[Int(sinceThursday - self.floor(sinceThursday, 7) * 7)]
        let date = "\(self.two(parts.day)) \(months[Int(parts.month) - 1]) \(self.digits(parts.year, 4))"
        return "\(day), \(date) \(self.clock(parts)) GMT"
    }

    private struct Parts {
        var year: Int64
        var month: Int64
        var day: Int64
        var second: Int64
        var millisecond: Int64
    }

    private static func parts(_ milliseconds: Int64) -> Parts {
        let seconds = Self.floor(milliseconds, 1000)
        let days = Self.floor(seconds, 86_400)
        // Days since 1 March of the year 0, counted in eras of 400 years; the year of this count begins in March.
        let shifted = days + 719_468
        let era = Self.floor(shifted, 146_097)
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        return Parts(
            year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0),
            month: month,
            day: dayOfYear - (153 * monthFromMarch + 2) / 5 + 1,
            second: seconds - days * 86_400,
            millisecond: milliseconds - seconds * 1000
        )
    }

    private static func floor(_ number: Int64, _ divisor: Int64) -> Int64 {
        let quotient = number / divisor
        return number % divisor < 0 ? quotient - 1 : quotient
    }

    private static func clock(_ parts: Parts) -> String {
        "\(self.two(parts.second / 3600)):\(self.two(parts.second / 60 % 60)):\(self.two(parts.second % 60))"
    }

    private static func two(_ number: Int64) -> String { self.digits(number, 2) }

    private static func digits(_ number: Int64, _ count: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, count - text.count)) + text
    }
}
