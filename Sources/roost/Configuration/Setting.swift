// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// One value of the configuration: its names, what it may be, and where it goes.
struct Setting: Sendable {
    /// The key in the file, with dots: `listeners.mqtts.port`.
    let path: String
    /// The flag of `roost serve`, nil where only `--set` reaches it.
    let flag: String?
    /// What the value may be, as the end of a sentence: "a whole number from 0 to 65535".
    let expected: String
    /// Whether the file takes a list here.
    let isList: Bool
    /// What it does, for the documentation.
    let help: String
    let read: @Sendable (Configuration) -> String
    /// Takes over a value; false when it is none of those expected.
    ///
    /// A setting that is no list gets one value.
    let write: @Sendable (inout Configuration, [String]) -> Bool

    /// The environment variable: `ROOST_LISTENERS_MQTTS_PORT`, `ROOST_DISABLE_DEVICE_SAS`.
    var environmentName: String {
        var result = "ROOST"
        for part in path.split(separator: ".") {
            result += "_"
            var previous: Character?
            for character in part {
                // A word begins at a capital that does not follow another one: abbreviations stay whole.
                if character.isUppercase, let previous, !previous.isUppercase { result += "_" }
                result += character.uppercased()
                previous = character
            }
        }
        return result
    }
}

extension Setting {
    /// Where a value is kept.
    typealias Place<Value> = any WritableKeyPath<Configuration, Value> & Sendable

    /// A whole number of any width.
    static func number<Value: FixedWidthInteger & Sendable>(
        _ path: String,
        _ place: Place<Value>,
        _ range: ClosedRange<Int>,
        flag: String? = nil,
        _ help: String
    ) -> Setting {
        wholeNumber(path, range, flag: flag, help) {
            String($0[keyPath: place])
        } write: { configuration, value in
            guard let fitting = Value(exactly: value) else { return false }
            configuration[keyPath: place] = fitting
            return true
        }
    }

    /// A time in whole seconds.
    static func seconds(_ path: String, _ place: Place<Duration>, _ range: ClosedRange<Int>, _ help: String) -> Setting
    {
        wholeNumber(path, range, help) {
            String($0[keyPath: place].components.seconds)
        } write: { configuration, value in
            configuration[keyPath: place] = .seconds(value)
            return true
        }
    }

    /// A time in whole milliseconds.
    static func milliseconds(
        _ path: String,
        _ place: Place<Duration>,
        _ range: ClosedRange<Int>,
        _ help: String
    ) -> Setting {
        wholeNumber(path, range, help) {
            String(Int($0[keyPath: place] / .milliseconds(1)))
        } write: { configuration, value in
            configuration[keyPath: place] = .milliseconds(value)
            return true
        }
    }

    private static func wholeNumber(
        _ path: String,
        _ range: ClosedRange<Int>,
        flag: String? = nil,
        _ help: String,
        read: @escaping @Sendable (Configuration) -> String,
        write: @escaping @Sendable (inout Configuration, Int) -> Bool
    ) -> Setting {
        Setting(
            path: path,
            flag: flag,
            expected: "a whole number from \(range.lowerBound) to \(range.upperBound)",
            isList: false,
            help: help,
            read: read,
            write: { configuration, values in
                guard let value = values.first.flatMap({ Int($0) }), range.contains(value) else { return false }
                return write(&configuration, value)
            }
        )
    }

    static func boolean(
        _ path: String,
        _ place: Place<Bool>,
        flag: String? = nil,
        _ help: String
    ) -> Setting {
        Setting(
            path: path,
            flag: flag,
            expected: "true or false",
            isList: false,
            help: help,
            read: { String($0[keyPath: place]) },
            write: { configuration, values in
                guard let value = values.first.flatMap({ Bool($0.lowercased()) }) else { return false }
                configuration[keyPath: place] = value
                return true
            }
        )
    }

    static func text(
        _ path: String,
        _ place: Place<String>,
        _ expected: String,
        flag: String? = nil,
        _ help: String,
        allows: @escaping @Sendable (String) -> Bool = { _ in true }
    ) -> Setting {
        Setting(
            path: path,
            flag: flag,
            expected: expected,
            isList: false,
            help: help,
            read: { $0[keyPath: place] },
            write: { configuration, values in
                guard let value = values.first, allows(value) else { return false }
                configuration[keyPath: place] = value
                return true
            }
        )
    }

    static func texts(
        _ path: String,
        _ place: Place<[String]>,
        _ expected: String,
        flag: String? = nil,
        _ help: String,
        allows: @escaping @Sendable (String) -> Bool
    ) -> Setting {
        Setting(
            path: path,
            flag: flag,
            expected: expected,
            isList: true,
            help: help,
            read: { $0[keyPath: place].joined(separator: ", ") },
            write: { configuration, values in
                guard values.allSatisfy(allows) else { return false }
                configuration[keyPath: place] = values
                return true
            }
        )
    }

    static func choice<Value: RawRepresentable<String> & CaseIterable & Sendable>(
        _ path: String,
        _ place: Place<Value>,
        flag: String? = nil,
        _ help: String
    ) -> Setting {
        Setting(
            path: path,
            flag: flag,
            expected: "one of " + Value.allCases.map(\.rawValue).joined(separator: ", "),
            isList: false,
            help: help,
            read: { $0[keyPath: place].rawValue },
            write: { configuration, values in
                guard let value = values.first.flatMap({ Value(rawValue: $0) }) else { return false }
                configuration[keyPath: place] = value
                return true
            }
        )
    }
}
