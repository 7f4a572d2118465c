// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel

extension Setting {
    /// Commands and their feedback (`properties.cloudToDevice`).
    static let commands: [Setting] = [
        .number(
            "cloudToDevice.maxDeliveryCount",
            \.limits.commands.deliveriesMax,
            1...100,
            "How often a device may give a command back before it ends."
        ),
        .duration(
            "cloudToDevice.defaultTtlAsIso8601",
            \.limits.commands.defaultTTLSeconds,
            60...172_800,
            "How long a command waits whose sender named no expiry."
        ),
        .duration(
            "cloudToDevice.feedback.lockDurationAsIso8601",
            \.limits.commands.feedback.lockSeconds,
            5...300,
            "How long a reader of feedback may take to settle a message before it comes again."
        ),
        .duration(
            "cloudToDevice.feedback.ttlAsIso8601",
            \.limits.commands.feedback.ttlSeconds,
            60...172_800,
            "How long feedback waits for a reader."
        ),
        .number(
            "cloudToDevice.feedback.maxDeliveryCount",
            \.limits.commands.feedback.deliveriesMax,
            1...100,
            "How often a reader may give feedback back before it is dropped."
        ),
        .number(
            "limits.commandQueueDepth",
            \.limits.commands.queueDepthMax,
            1...10_000,
            "Commands that wait for one device, those that are locked included."
        ),
        .number(
            "limits.commandBytes",
            \.limits.commands.messageSizeMax,
            1_024...1_048_576,
            "The largest command with its properties."
        ),
        .number(
            "limits.commandTtlSeconds",
            \.limits.commands.ttlSecondsMax,
            60...31_536_000,
            "How far ahead the expiry of a command may be."
        ),
        .number(
            "limits.commandLockSeconds",
            \.limits.commands.lockSeconds,
            1...3_600,
            "How long a device may take to settle a command before it comes again."
        ),
        .number(
            "limits.commandSweepMilliseconds",
            \.limits.commands.sweepMilliseconds,
            10...60_000,
            "How often queues are looked through for commands and locks whose time is over."
        ),
        .number(
            "limits.commandSweepStep",
            \.limits.commands.sweepStepMax,
            1...1_000_000,
            "Commands, locks and records of feedback that are ended in one step of that."
        ),
        .number(
            "limits.feedbackBatch",
            \.limits.commands.feedback.batchMax,
            1...1_000,
            "Records of feedback in one message."
        ),
        .number(
            "limits.feedbackDelayMilliseconds",
            \.limits.commands.feedback.delayMilliseconds,
            0...60_000,
            "How long a record of feedback waits for others to fill its message."
        ),
        .number(
            "limits.feedbackRecords",
            \.limits.commands.feedback.recordsMax,
            1_000...1_000_000_000,
            "Records of feedback that wait for readers; beyond, the oldest are dropped."
        ),
    ]
}

extension Setting {
    /// A time as ISO 8601 writes it, in whole seconds: `PT1H`, `PT1M30S`, `P2D`.
    static func duration(_ path: String, _ place: Place<Int>, _ range: ClosedRange<Int>, _ help: String) -> Setting {
        Setting(
            path: path,
            flag: nil,
            expected: """
                an ISO 8601 duration from \(ISODuration.text(seconds: range.lowerBound)) to \
                \(ISODuration.text(seconds: range.upperBound))
                """,
            isList: false,
            help: help,
            read: { ISODuration.text(seconds: $0[keyPath: place]) },
            write: { configuration, values in
                guard let value = values.first.flatMap(ISODuration.seconds), range.contains(value) else {
                    return false
                }
                configuration[keyPath: place] = value
                return true
            }
        )
    }
}

/// Durations of ISO 8601 in days, hours, minutes and seconds.
enum ISODuration {
    private static let units: [(letter: Character, seconds: Int, isTime: Bool)] = [
        ("D", 86_400, false), ("H", 3_600, true), ("M", 60, true), ("S", 1, true),
    ]

    /// Reads a duration of whole seconds; nil where the text is none.
    static func seconds(_ text: String) -> Int? {
        guard text.first == "P", text.count > 2, text.count < 32 else { return nil }
        var sum = 0
        var number = ""
        var isTime = false
        var rest = Self.units[...]
        for character in text.dropFirst() {
            if character.isASCII, character.isNumber {
                number.append(character)
            } else if character == "T", number.isEmpty, !isTime {
                isTime = true
            } else {
                guard let index = rest.firstIndex(where: { $0.letter == character && $0.isTime == isTime }),
                    let count = Int(number), count <= 1_000_000_000
                else { return nil }
                sum += count * rest[index].seconds
                rest = rest[(index + 1)...]
                number = ""
            }
        }
        return number.isEmpty && rest.count < Self.units.count && text.last != "T" ? sum : nil
    }

    /// Writes a duration.
    static func text(seconds: Int) -> String {
        var left = seconds
        var (days, time) = ("", "")
        for unit in Self.units {
            let count = left / unit.seconds
            left %= unit.seconds
            guard count > 0 else { continue }
            if unit.isTime { time += "\(count)\(unit.letter)" } else { days += "\(count)\(unit.letter)" }
        }
        if days.isEmpty, time.isEmpty { return "PT0S" }
        return "P" + days + (time.isEmpty ? "" : "T" + time)
    }
}
