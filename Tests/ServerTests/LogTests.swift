// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Glibc
import Logging
import Synchronization
import Testing

@testable import roost

struct LogTests {
    /// Logs what `use` logs, and gives the lines that came out.
    private func lines(_ format: LogFormat, bytesMax: Int = 1 << 20, _ use: (Logger) -> Void) throws -> [String] {
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        let sink = LogSink(descriptor: ends[1], bytesMax: bytesMax)
        let logger = Logger(label: "test") { HubLogHandler(label: $0, format: format, level: .debug, sink: sink) }
        use(logger)
        sink.flush()
        close(ends[1])
        var bytes = [UInt8](repeating: 0, count: 60_000)
        let count = read(ends[0], &bytes, bytes.count)
        close(ends[0])
        return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self).split(separator: "\n").map(String.init)
    }

    @Test func `a line for people has time, level, message and fields in order`() throws {
        let lines = try lines(.text) { $0.warning("port taken", metadata: ["port": "8883", "a": "b c"]) }
        #expect(lines.count == 1)
        #expect(
            lines[0].wholeMatch(of: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z warning: port taken a="b c" port=8883/)
                != nil
        )
    }

    @Test func `a line for machines is one JSON object`() throws {
        let lines = try lines(.json) { $0.info("say \"hi\"", metadata: ["path": "a\\b"]) }
        #expect(lines.count == 1)
        #expect(
            lines[0].hasSuffix(#","level":"info","logger":"test","message":"say \"hi\"","fields":{"path":"a\\b"}}"#)
        )
    }

    @Test(arguments: [LogFormat.text, .json])
    func `a peer can't forge lines or colours`(format: LogFormat) throws {
        let lines = try lines(format) { $0.info("id", metadata: ["id": "a\nerror: forged \u{1b}[31m\u{202e}"]) }
        #expect(lines.count == 1)
        #expect(!lines[0].unicodeScalars.contains { $0.value < 0x20 || $0.value == 0x202e })
        #expect(lines[0].contains("u000aerror: forged"))
    }

    @Test func `a peer can't forge fields`() throws {
        let lines = try lines(.text) { $0.info("id", metadata: ["id": "a\" reason=\"fine", "key": "a=b"]) }
        #expect(lines[0].hasSuffix(#" id="a\" reason=\"fine" key="a=b""#), "\(lines[0])")
    }

    @Test func `a long field is cut`() throws {
        let lines = try lines(.text) { $0.info("x", metadata: ["a": "\(String(repeating: "y", count: 50_000))"]) }
        #expect(lines[0].utf8.count < 1_200)
    }

    @Test func `security 052 what looks like a key or a token never reaches the log`() throws {
        let canary = "Q2FuYXJ5S2V5MDAwMDAwMDAwMDAwMDA="
        let texts = [
            "HostName=h;SharedAccessKeyName=device;SharedAccessKey=\(canary)",
            "SharedAccessSignature sr=h%2Fdevices%2Fd&sig=\(canary)&se=1700000000",
            "{\"primaryKey=\(canary)\"}", "PASSWORD=\(canary)",
        ]
        for format in LogFormat.allCases {
            for text in texts {
                let lines = try lines(format) { $0.error("\(text)", metadata: ["peer": "\(text)"]) }
                #expect(lines.count == 1)
                #expect(!lines[0].contains(canary.dropLast(1)), "\(lines[0])")
                #expect(lines[0].contains("***"))
            }
        }
    }

    @Test func `a log that nobody reads costs lines, not memory and not time`() throws {
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        let sink = LogSink(descriptor: ends[1], bytesMax: 10_000)
        // The pipe takes 64 KiB, the sink 10,000 bytes; the rest is counted.
        for index in 0..<2_000 { sink.write("line \(index) " + String(repeating: "x", count: 90)) }
        var text = ""
        var bytes = [UInt8](repeating: 0, count: 65_536)
        while !text.contains("log lines were dropped") {
            let count = read(ends[0], &bytes, bytes.count)
            try #require(count > 0)
            text += String(decoding: bytes.prefix(count), as: UTF8.self)
        }
        #expect(text.utf8.count < 90_000)
        sink.flush()
        close(ends[0])
        close(ends[1])
    }
}
