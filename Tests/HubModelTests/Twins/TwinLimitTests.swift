// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel
import NIOCore
import Testing

struct TwinLimitTests {
    private let fresh = Twin(freshFor: TwinFixtures.id)

    @Test(arguments: [
        ".", "$", "#", " ", "\u{1}", "\u{7F}", "\u{85}", "\u{A0}", "\u{2003}", "\\t", "\\u0000", "\\u0024",
    ])
    func `messages 048 rest_service 063 a forbidden character in a name refuses the whole write`(_ bad: String) throws {
        let escaped = bad.unicodeScalars.count == 1 && bad == "\u{1}" ? "\\u0001" : bad
        let name = "o\(escaped)k"
        for body in [#"{"fine":1,"\#(name)":1}"#, #"{"a":{"\#(name)":null}}"#, #"{"a":[{"\#(name)":1}]}"#] {
            #expect(code { _ = try fresh.desiring(body) } == .argumentInvalid)
            #expect(code { _ = try fresh.patched(#"{"tags":\#(body)}"#) } == .argumentInvalid)
            #expect(code { _ = try fresh.reporting(body) } == .argumentInvalid)
        }
        #expect(code { _ = try fresh.desiring(#"{"ok-_:é\u4e16!()":1}"#) } == nil)
    }

    @Test func `the message names the character`() {
        #expect(
            message { _ = try fresh.desiring(##"{"o#k":1}"##) } == "Property name o#k contains invalid character '#'"
        )
    }

    @Test func `a name of 1024 bytes is accepted and a longer one refused`() {
        let name = String(repeating: "é", count: 512)
        #expect(code { _ = try fresh.desiring("{\"\(name)\":1}") } == nil)
        #expect(code { _ = try fresh.desiring("{\"\(name)a\":1}") } == .argumentInvalid)
    }

    @Test func `messages 049 rest_service 063 mqtt 088 depth 10 is accepted and 11 refused`() throws {
        let ten = TwinFixtures.nested(10)
        let eleven = TwinFixtures.nested(11)
        #expect(code { _ = try fresh.desiring(ten) } == nil)
        #expect(code { _ = try fresh.desiring(eleven) } == .argumentInvalid)
        #expect(code { _ = try fresh.reporting(eleven) } == .argumentInvalid)
        #expect(message { _ = try fresh.reporting(eleven) } == "Nested depth of twin property exceeds 10")
        let arrays = "{\"a\":" + String(repeating: "[", count: 11) + String(repeating: "]", count: 11) + "}"
        #expect(code { _ = try fresh.desiring(arrays) } == .argumentInvalid)
        let deep = "{\"a\":" + String(repeating: "[", count: 100_000) + String(repeating: "]", count: 100_000) + "}"
        #expect(code { _ = try fresh.desiring(deep) } == .argumentInvalid)
    }

    @Test func `messages 049 rest_service 063 a string of 4096 bytes is accepted and of 4097 refused`() {
        let string = String(repeating: "é", count: 2048)
        #expect(code { _ = try fresh.desiring("{\"a\":\"\(string)\"}") } == nil)
        #expect(code { _ = try fresh.desiring("{\"a\":\"\(string)x\"}") } == .argumentInvalid)
        #expect(code { _ = try fresh.desiring("{\"a\":[\"\(string)x\"]}") } == .argumentInvalid)
    }

    @Test(arguments: [
        ("4503599627370495", true), ("4503599627370496", false), ("-4503599627370496", true),
        ("-4503599627370497", false), ("99999999999999999999999999", false), ("4503599627370496.5", true),
        ("1e300", true), ("0.\(String(repeating: "3", count: 62))", true),
        ("0.\(String(repeating: "3", count: 63))", false),
    ])
    func `messages 050 rest_service 064 an integer beyond 53 bits is refused`(_ number: String, _ isGood: Bool) {
        #expect(code { _ = try fresh.desiring("{\"a\":\(number)}") } == (isGood ? nil : .argumentInvalid))
    }

    @Test(arguments: ["[null]", "[[null]]", #"[{"a":null}]"#, #"[1,{"a":{"b":null}}]"#])
    func `messages 051 a null inside an array is refused`(_ array: String) {
        #expect(message { _ = try fresh.desiring("{\"a\":\(array)}") } == "Arrays cannot contain 'null' as value")
    }

    @Test func `mqtt 088 rest_service 063 a section over its size is refused and nothing changed`() throws {
        // 8 members of one byte and 4,095: 32,768 bytes exactly.
        let string = String(repeating: "x", count: 4095)
        let members = (0..<8).map { "\"\($0)\":\"\(string)\"" }.joined(separator: ",")
        let full = try fresh.reporting("{\(members)}").twin
        let refused = "Twin properties size 32777 exceeds maximum 32768"
        #expect(message { _ = try full.reporting(#"{"z":1}"#) } == refused)
        #expect(try full.reporting(#"{"0":null,"z":1}"#).twin.reported.version == 3)
        #expect(try full.reporting(#"{"0":true}"#).twin.reported.version == 3)
        let tags = "{\"tags\":{\"a\":\"\(string)\",\"b\":\"\(string)\"}}"
        #expect(code { _ = try fresh.patched(tags) } == nil)
        #expect(code { _ = try fresh.patched(tags.replacing("}}", with: ",\"c\":\"\"}}")) } == .argumentInvalid)
    }

    @Test func `control characters, brackets and metadata do not count`() throws {
        let string = String(repeating: "\\n", count: 100) + String(repeating: "x", count: 4095)
        #expect(code { _ = try fresh.desiring("{\"a\":\"\(string)\"}") } == .argumentInvalid)
        var limits = TwinLimits()
        limits.sectionBytesMax = 4
        limits.textToSizeMax = 100
        let change = try TwinChange(
            reportedBody: ByteBuffer(string: #"{"a":{"b":["\n\t",[],{}]}, "c":"x"}"#),
            ifVersion: nil,
            limits: limits
        )
        #expect(code { _ = try fresh.applying(change, atMilliseconds: 0, limits: limits) } == nil)
        limits.sectionBytesMax = 3
        #expect(code { _ = try fresh.applying(change, atMilliseconds: 0, limits: limits) } == .argumentInvalid)
    }

    @Test func `text that weighs nothing is bounded too`() throws {
        let empty = "[" + Array(repeating: "[]", count: 50_000).joined(separator: ",") + "]"
        #expect(code { _ = try fresh.desiring("{\"a\":\(empty)}") } == .argumentInvalid)
    }
}
