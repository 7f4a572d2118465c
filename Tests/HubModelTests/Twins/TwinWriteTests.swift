// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel
import JSON
import NIOCore
import Testing

struct TwinWriteTests {
    private let fresh = Twin(freshFor: TwinFixtures.id)

    @Test func `messages 041 rest_service 055 a fresh twin has version 2 and 1 in both sections`() throws {
        #expect(fresh.version == 2)
        #expect(fresh.etag == "AAAAAAAAAAE=")
        let document = try TwinFixtures.document(fresh)
        for section in ["desired", "reported"] {
            let section = try #require(document["properties"]?[section])
            #expect(section["$version"]?.int == 1)
            #expect(section["$metadata"]?.raw.text == #"{"$lastUpdated":"0001-01-01T00:00:00Z"}"#)
        }
    }

    @Test func `messages 042 rest_service 057 a patch of tags alone leaves the version of desired`() throws {
        let twin = try fresh.desiring(#"{"a":1}"#).twin
        let update = try twin.patched(#"{"tags":{"room":"7"}}"#)
        #expect(update.twin.desired.version == 2)
        #expect(update.twin.version == twin.version + 1)
        #expect(update.twin.etag != twin.etag)
        #expect(update.twin.tags.text == #"{"room":"7"}"#)
        #expect(update.notice == nil)
    }

    @Test func `messages 043 a patch of desired with unchanged values counts`() throws {
        let first = try fresh.desiring(#"{"a":1}"#).twin
        let second = try first.desiring(#"{"a":1}"#).twin
        #expect(first.desired.version == 2)
        #expect(second.desired.version == 3)
        #expect(second.desired.text == first.desired.text)
    }

    @Test func `messages 044 rest_service 058 a null removes a member and its metadata`() throws {
        let twin = try fresh.desiring(#"{"a":1,"b":{"c":2,"d":3}}"#).twin
        let after = try twin.desiring(#"{"a":null,"b":{"c":null},"missing":null}"#).twin
        #expect(after.desired.text.text == #"{"b":{"d":3}}"#)
        let metadata = try #require(TwinFixtures.document(after)["properties"]?["desired"]?["$metadata"])
        #expect(metadata["a"] == nil)
        #expect(metadata["b"]?["c"] == nil)
        #expect(metadata["b"]?["d"] != nil)
        // A null below a parent that is not there makes the parent, empty.
        #expect(try fresh.desiring(#"{"p":{"q":null}}"#).twin.desired.text.text == #"{"p":{}}"#)
        // What deletions empty stays.
        #expect(try after.desiring(#"{"b":{"d":null}}"#).twin.desired.text.text == #"{"b":{}}"#)
    }

    @Test func `messages 045 an array is replaced whole`() throws {
        let twin = try fresh.desiring(#"{"a":[1,2,{"b":3}]}"#).twin
        #expect(try twin.desiring(#"{"a":[4]}"#).twin.desired.text.text == #"{"a":[4]}"#)
    }

    @Test func `an object gives way to a scalar and a scalar to an object`() throws {
        let twin = try fresh.desiring(#"{"a":{"b":1},"c":2}"#).twin
        let after = try twin.desiring(#"{"c":{"d":{"e":null,"f":1}},"a":true}"#).twin
        #expect(after.desired.text.text == #"{"a":true,"c":{"d":{"f":1}}}"#)
        #expect(after.desired.stamps.values.count == 5)
    }

    @Test func `messages 046 removing all tags removes the member tags`() throws {
        let twin = try fresh.patched(#"{"tags":{"a":1,"b":{"c":2}}}"#).twin
        #expect(try TwinFixtures.document(twin)["tags"] != nil)
        let after = try twin.patched(#"{"tags":{"a":null,"b":null}}"#).twin
        #expect(try TwinFixtures.document(after)["tags"] == nil)
    }

    @Test func `messages 047 rest_service 061 the document that was read is accepted back`() throws {
        let twin = try fresh.patched(#"{"tags":{"t":1},"properties":{"desired":{"a":{"b":1}}}}"#).twin
        let read = try TwinFixtures.document(twin).raw.text
        let after = try twin.patched(read).twin
        #expect(after.desired.text == twin.desired.text)
        #expect(after.tags == twin.tags)
        #expect(after.reported == twin.reported)
        #expect(after.desired.version == 3)
        #expect(code { _ = try twin.desiring(#"{"$etag":1}"#) } == .argumentInvalid)
        #expect(code { _ = try twin.desiring(#"{"a":{"$version":1}}"#) } == .argumentInvalid)
        #expect(code { _ = try twin.patched(#"{"tags":{"$version":1}}"#) } == .argumentInvalid)
    }

    @Test func `messages 052 rest_service 059 a wrong entity tag changes nothing`() throws {
        let body = #"{"tags":{"a":1}}"#
        #expect(code { _ = try fresh.patched(body, ifMatch: ["AAAAAAAAAAI="]) } == .preconditionFailed)
        #expect(code { _ = try fresh.patched(body, ifMatch: []) } == .preconditionFailed)
        #expect(try fresh.patched(body, ifMatch: ["x", fresh.etag]).twin.etag == "AAAAAAAAAAI=")
        #expect(try fresh.replaced(body, ifMatch: [fresh.etag]).twin.version == 3)
    }

    @Test func `rest_service 060 an entity tag in the body does not count`() throws {
        #expect(try fresh.patched(#"{"etag":"x","tags":{"a":1}}"#).twin.hasTags)
    }

    @Test func `messages 053 mqtt 079 the device reads both sections without metadata and tags`() throws {
        #expect(fresh.deviceDocument.text == #"{"desired":{"$version":1},"reported":{"$version":1}}"#)
        let twin = try fresh.patched(#"{"tags":{"t":1},"properties":{"desired":{"a":1}}}"#).twin.reporting(#"{"b":2}"#)
        #expect(
            twin.twin.deviceDocument.text == #"{"desired":{"a":1,"$version":2},"reported":{"b":2,"$version":2}}"#
        )
    }

    @Test func `messages 054 mqtt 083 a notice carries the patch with its nulls and the version`() throws {
        let twin = try fresh.desiring(#"{"old":1,"o":{"x":1,"y":2}}"#).twin
        let update = try twin.desiring(#"{ "interval" : 5, "old":null, "$version":99, "o":{"x":null} }"#)
        #expect(update.notice?.version == 3)
        #expect(update.notice?.payload.text == #"{"interval":5,"old":null,"o":{"x":null},"$version":3}"#)
    }

    @Test func `messages 055 rest_service 062 a replacement removes what it does not name and notifies all`() throws {
        let twin = try fresh.patched(#"{"tags":{"t":1},"properties":{"desired":{"a":1,"b":2}}}"#).twin
            .reporting(#"{"r":1}"#).twin
        let update = try twin.replaced(#"{"properties":{"desired":{"b":3,"n":null,"$metadata":{}}}}"#)
        #expect(update.twin.desired.text.text == #"{"b":3}"#)
        #expect(update.notice?.payload.text == #"{"b":3,"$version":3}"#)
        #expect(update.twin.reported == twin.reported)
        #expect(update.twin.tags == twin.tags)
        let cleared = try update.twin.replaced(#"{"tags":{},"properties":{"desired":{}}}"#)
        #expect(cleared.twin.desired.text.text == "{}")
        #expect(!cleared.twin.hasTags)
        #expect(cleared.notice?.payload.text == #"{"$version":4}"#)
    }

    @Test func `messages 056 mqtt 080 each report raises the version of reported by one`() throws {
        let first = try fresh.reporting(#"{"a":{"b":1}}"#)
        let second = try first.twin.reporting(#"{"a":{"b":null,"c":2}}"#)
        #expect(first.twin.reported.version == 2)
        #expect(second.twin.reported.version == 3)
        #expect(second.twin.reported.text.text == #"{"a":{"c":2}}"#)
        #expect(second.twin.version == 4)
        #expect(second.twin.etag == fresh.etag)
        #expect(second.notice == nil)
    }

    @Test func `mqtt 081 a report names the version that it builds on`() throws {
        let first = try fresh.reporting(#"{"a":1}"#, ifVersion: 1).twin
        #expect(code { _ = try first.reporting(#"{"a":2}"#, ifVersion: 1) } == .preconditionFailed)
        #expect(try first.reporting(#"{"a":2}"#, ifVersion: 2).twin.reported.version == 3)
    }

    @Test(arguments: ["{", "[1]", "\"x\"", #"{"$version":3}"#, "", "null", #"{"a":1}x"#])
    func `mqtt 082 a report that is no object of properties is refused`(_ body: String) {
        let code = code { _ = try fresh.reporting(body) }
        #expect(code == .formatError || code == .argumentInvalid)
    }

    @Test func `messages 057 texts of strings and numbers come back as they were sent`() throws {
        let sent =
            #"{"date":"2024-03-01T10:00:00+02:00","n":1.0,"e":1E3,"neg":-0.10,"uni":"\u00e9\/","big":4503599627370495}"#
        let twin = try fresh.desiring(sent).twin.desiring(#"{"other":1}"#).twin
        #expect(twin.desired.text.text == sent.dropLast() + #","other":1}"#)
    }

    @Test func `names are found in any spelling and keep their case`() throws {
        let twin = try fresh.desiring(#"{"é":1,"A":2,"a":3,"q\"":4}"#).twin
        let after = try twin.desiring(#"{"\u00e9":null,"\u0041":5,"q\u0022":6}"#).twin
        #expect(after.desired.text.text == #"{"A":5,"a":3,"q\"":6}"#)
    }

    @Test func `of members with the same name the last counts`() throws {
        let twin = try fresh.desiring(#"{"a":1,"a":2,"b":[{"c":1,"c":2}]}"#).twin
        #expect(twin.desired.text.text == #"{"a":2,"b":[{"c":2}]}"#)
    }

    @Test(arguments: [
        "{}", #"{"tags":null,"properties":null}"#, #"{"tags":{},"properties":{"desired":{}}}"#,
        #"{"properties":{"desired":null,"reported":{"a":1}}}"#, #"{"properties":{"desired":{"$version":1}}}"#,
    ])
    func `a patch that writes nothing changes nothing`(_ body: String) throws {
        let update = try fresh.patched(body)
        #expect(update.twin == fresh)
        #expect(update.written.isEmpty)
        #expect(try fresh.reporting("{}").twin == fresh)
    }

    @Test func `more members than are searched one by one are merged alike`() throws {
        let names = (0..<200).map { "k\($0)" }
        let all = "{" + names.map { "\"\($0)\":1" }.joined(separator: ",") + "}"
        let odd = names.enumerated().filter { $0.offset % 2 == 1 }.map(\.element)
        let patch = "{" + odd.map { "\"\($0)\":null" }.joined(separator: ",") + ",\"new\":2}"
        let twin = try fresh.desiring(all).twin.desiring(patch).twin
        let left = names.enumerated().filter { $0.offset % 2 == 0 }.map { "\"\($0.element)\":1" }
        #expect(twin.desired.text.text == "{" + left.joined(separator: ",") + ",\"new\":2}")
    }
}
