// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import JSON
import NIOCore
import Testing

struct JSONDocumentTests {
    static let accepted = [
        "null", "true", "false", "0", "-0", "-1.5e+10", "1E400", "123456789012345678901234567890", "\"\"",
        "\"a\\u00e9\"",
        "\"\\ud83d\\ude00\"", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "[]", "{}", " [ 1 , 2 ] ", "{\"a\":{\"b\":[{}]}}",
        "\"\u{1F600}é\"",
        "{\"\":1}", "[[[[]]]]", "\"\u{7F}\"",
    ]

    static let refused: [(String, JSONError.Reason)] = [
        ("", .unexpectedEnd), (" ", .unexpectedEnd), ("nul", .unexpectedEnd), ("nulL", .unexpectedByte),
        ("True", .unexpectedByte),
        ("01", .trailingBytes), ("-", .invalidNumber), ("1.", .invalidNumber), (".5", .unexpectedByte),
        ("+1", .unexpectedByte),
        ("1e", .invalidNumber), ("1e+", .invalidNumber), ("NaN", .unexpectedByte), ("Infinity", .unexpectedByte),
        ("\"", .unexpectedEnd), ("\"\\", .unexpectedEnd), ("\"\\x\"", .invalidEscape), ("\"\\u12G4\"", .invalidEscape),
        ("\"\\ud800\"", .invalidEscape), ("\"\\udc00\"", .invalidEscape), ("\"\\ud800\\u0041\"", .invalidEscape),
        ("\"\u{1}\"", .controlCharacter), ("\"\n\"", .controlCharacter), ("[1,]", .unexpectedByte),
        ("[,1]", .unexpectedByte),
        ("[1 2]", .unexpectedByte), ("[", .unexpectedEnd), ("[1", .unexpectedEnd), ("]", .unexpectedByte),
        ("[}", .unexpectedByte),
        ("{", .unexpectedEnd), ("{]", .unexpectedByte), ("{1:2}", .unexpectedByte), ("{\"a\"}", .unexpectedByte),
        ("{\"a\":}", .unexpectedByte), ("{\"a\":1,}", .unexpectedByte), ("{\"a\":1 \"b\":2}", .unexpectedByte),
        ("1 1", .trailingBytes),
        ("{} x", .trailingBytes), ("'a'", .unexpectedByte), ("// c\n1", .unexpectedByte),
        ("\u{FEFF}1", .unexpectedByte),
        ("\u{A0}1", .unexpectedByte),
    ]

    @Test(arguments: accepted)
    func `a text of RFC 8259 is accepted and written as it stands`(_ text: String) throws {
        let document = try JSONDocument(parsing: text)
        var writer = JSONWriter()
        writer.value(document.root)
        #expect(String(buffer: writer.buffer) == text.trimmingSpaces())
    }

    @Test(arguments: refused)
    func `a text outside RFC 8259 is refused with its reason`(_ text: String, _ reason: JSONError.Reason) {
        #expect(throws: JSONError.self) { try JSONDocument(parsing: text) }
        do { _ = try JSONDocument(parsing: text) } catch { #expect(error.reason == reason) }
    }

    @Test(arguments: [
        [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xE2, 0x82], [0xFF], [0x80],
        [0xF0, 0x80, 0x80, 0x80],
    ])
    func `a string that is not UTF-8 is refused`(_ bytes: [UInt8]) {
        let text = ByteBuffer(bytes: [0x22] + bytes + [0x22])
        #expect { try JSONDocument(parsing: text) } throws: { ($0 as? JSONError)?.reason == .invalidUTF8 }
    }

    @Test func `every proper prefix of a container is incomplete`() {
        let text = Array(#"{"a":[1.5e3,"xéy\n😀",null,true],"b":{"c":{}}}"#.utf8)
        for length in 0..<text.count {
            #expect(throws: JSONError.self) { try JSONDocument(parsing: ByteBuffer(bytes: text[..<length])) }
        }
    }

    @Test func `security 055 JSON of depth 100000 is refused at the limit and parsed below a higher one`() throws {
        for (opening, closing, leaf) in [("[", "]", ""), ("{\"a\":", "}", "1")] {
            let deep = String(repeating: opening, count: 100_000) + leaf + String(repeating: closing, count: 100_000)
            #expect { try JSONDocument(parsing: deep) } throws: { ($0 as? JSONError)?.reason == .tooDeep }
            let unclosed = String(repeating: opening, count: 100_000)
            #expect { try JSONDocument(parsing: unclosed) } throws: { ($0 as? JSONError)?.reason == .tooDeep }
            let document = try JSONDocument(parsing: deep, limits: JSONLimits(depthMax: 100_000))
            var writer = JSONWriter()
            writer.compactValue(document.root)
            #expect(writer.buffer == document.text)
        }
    }

    @Test func `security 055 an object with many equal and many different names is parsed in linear time`() throws {
        let names = (0..<100_000).map { #""name\#($0 % 50_000)":\#($0)"# }.joined(separator: ",")
        let document = try JSONDocument(parsing: "{\(names)}")
        #expect(document.root.members.reduce(into: 0) { count, _ in count += 1 } == 50_000)
        #expect(document.root["name7"]?.int == 50_007)
    }

    @Test func `depth is counted by open containers`() throws {
        _ = try JSONDocument(parsing: "[[1]]", limits: JSONLimits(depthMax: 2))
        _ = try JSONDocument(parsing: "1", limits: JSONLimits(depthMax: 0))
        #expect(throws: JSONError.self) { try JSONDocument(parsing: "[[[]]]", limits: JSONLimits(depthMax: 2)) }
    }

    @Test func `a text over the size limit is refused before it is read`() {
        #expect { try JSONDocument(parsing: "[1,2,3]", limits: JSONLimits(bytesMax: 6)) } throws: {
            ($0 as? JSONError)?.reason == .tooLarge
        }
    }

    @Test func `numbers keep their text`() throws {
        let root = try JSONDocument(parsing: "[1.10, 1e400, 18446744073709551616, -0, 42]").root
        #expect(root.elements.map(\.numberText) == ["1.10", "1e400", "18446744073709551616", "-0", "42"])
        #expect(root.elements.map(\.int) == [nil, nil, nil, 0, 42])
        #expect(Array(root.elements)[0].double == 1.1)
    }

    @Test func `members keep their order and strings resolve their escapes`() throws {
        let root = try JSONDocument(parsing: #"{"z":1,"a":"\u00e9\ud83d\ude00\n\/","m\u0041":null}"#).root
        #expect(root.members.map(\.name) == ["z", "a", "mA"])
        #expect(root["a"]?.string == "é😀\n/")
        #expect(root["mA"]?.isNull == true)
        #expect(root["missing"] == nil)
        #expect(root["z"]?["a"] == nil)
    }

    @Test func `of members with one name the last counts and the others are not written`() throws {
        let root = try JSONDocument(parsing: #"{ "a":1, "b": [ {"x":1,"\u0078":2} ], "c": { "k" : 1 }, "a":3 }"#).root
        #expect(root.members.map(\.name) == ["b", "c", "a"])
        #expect(root["a"]?.int == 3)
        var writer = JSONWriter()
        writer.value(root)
        #expect(String(buffer: writer.buffer) == #"{"b":[{"\u0078":2}],"c":{ "k" : 1 },"a":3}"#)
    }

    @Test func `names that only look alike are different`() throws {
        // U+00E1 and a with U+0301 are one character to a Swift string.
        let looksAlike = #"{"\u00e1":1,"a\u0301":2}"#
        for text in [looksAlike, "{\"\u{E1}\":1,\"a\u{301}\":2}"] {
            let root = try JSONDocument(parsing: text).root
            #expect(root.members.map { $0.value.int } == [1, 2])
            #expect(root["\u{E1}"]?.int == 1 && root["a\u{301}"]?.int == 2)
        }
        let many = (0..<20).map { "\"n\($0)\":0" }.joined(separator: ",")
        let large = try JSONDocument(parsing: "{\(many),\(looksAlike.dropFirst())").root
        #expect(large["\u{E1}"]?.int == 1 && large["a\u{301}"]?.int == 2)
    }

    @Test func `a document parses from inside a larger buffer`() throws {
        var buffer = ByteBuffer(string: "xx{\"a\":\"b\"}")
        buffer.moveReaderIndex(forwardBy: 2)
        #expect(try JSONDocument(parsing: buffer).root["a"]?.string == "b")
    }
}

struct JSONWriterTests {
    @Test func `the writer places commas and escapes strings`() throws {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("s", "a\"\\\n\u{1}\u{1F}é")
        writer.member("n", String?.none)
        writer.member("i", -5)
        writer.name("list")
        writer.beginArray()
        writer.bool(true)
        writer.beginObject()
        writer.endObject()
        writer.raw(ByteBuffer(string: "1.0"))
        writer.endArray()
        writer.member("last", false)
        writer.endObject()
        let text = String(buffer: writer.buffer)
        #expect(text == #"{"s":"a\"\\\n\u0001\u001Fé","n":null,"i":-5,"list":[true,{},1.0],"last":false}"#)
        #expect(try JSONDocument(parsing: text).root["s"]?.string == "a\"\\\n\u{1}\u{1F}é")
    }

    @Test func `compact writing drops white space between tokens only`() throws {
        var writer = JSONWriter()
        writer.compactValue(try JSONDocument(parsing: "{ \"a b\" : [ 1 , \" x \" ] }").root)
        #expect(String(buffer: writer.buffer) == "{\"a b\":[1,\" x \"]}")
    }
}

extension String {
    fileprivate func trimmingSpaces() -> String {
        String(self.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
    }
}
