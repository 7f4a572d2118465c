// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel
import JSON
import NIOCore

/// Applies changes to a twin, one a line, and checks what must hold of any twin.
///
/// The first byte of a line says who asks: `r` the device, `u` a back end that replaces, anything else one that patches.
/// Shared by the fuzzer and the test that replays its finds.
func exerciseTwin(_ bytes: [UInt8]) {
    var twin = Twin(freshFor: IdentityID(device: "d"))
    for (index, line) in bytes.split(separator: UInt8(ascii: "\n")).prefix(16).enumerated() {
        let body = ByteBuffer(bytes: line.dropFirst())
        guard let change = change(line[line.startIndex], body) else { continue }
        guard let update = apply(change, to: twin, at: Int64(index)) else { continue }
        check(update, of: twin)
        check(update.twin)
        checkRepetition(of: change, on: update.twin)
        twin = update.twin
    }
}

private let limits = TwinLimits()

private func change(_ kind: UInt8, _ body: ByteBuffer) -> TwinChange? {
    do {
        guard kind != UInt8(ascii: "r") else {
            return try TwinChange(reportedBody: body, ifVersion: nil, limits: limits)
        }
        return try TwinChange(serviceBody: body, replaces: kind == UInt8(ascii: "u"), limits: limits)
    } catch {
        precondition([.formatError, .argumentInvalid].contains(error.code), "a bad change is the sender's fault")
        return nil
    }
}

private func apply(_ change: TwinChange, to twin: Twin, at milliseconds: Int64) -> TwinUpdate? {
    do {
        return try twin.applying(change, atMilliseconds: milliseconds, limits: limits)
    } catch {
        precondition(error.code == .argumentInvalid, "a change fails by its size only: \(error)")
        return nil
    }
}

private func check(_ update: TwinUpdate, of twin: Twin) {
    let isWritten = !update.written.isEmpty
    precondition(update.twin.version == twin.version + (isWritten ? 1 : 0), "the version counts the changes")
    precondition((update.twin.etag != twin.etag) == (isWritten && update.written != [.reported]), "the entity tag too")
    if let notice = update.notice {
        precondition(notice.version == twin.desired.version + 1, "a notice carries the version of its write")
        precondition(parse(notice.payload)["$version"]?.int == notice.version, "a notice is JSON")
    }
}

/// Both documents are JSON, and what is stored of the stamps is read back.
private func check(_ twin: Twin) {
    let document = parse(twin.deviceDocument)
    precondition(document["desired"]?["$version"]?.int == twin.desired.version, "the device reads the version")
    precondition(document["reported"]?["$version"]?.int == twin.reported.version, "the device reads the version")
    let identity = RegisteredIdentity(id: twin.id, generationID: "1", etag: "MQ==")
    do {
        let document = parse(try twin.serviceDocument(of: identity, IdentityActivity()))
        precondition(document["properties"]?["desired"]?["$metadata"] != nil, "the back end reads metadata")
    } catch {
        preconditionFailure("a twin can't be printed: \(error)")
    }
    for section in [twin.desired, twin.reported] {
        var buffer = ByteBuffer()
        section.stamps.write(to: &buffer)
        let count = section.stamps.values.count
        precondition(TwinStamps(reading: buffer, countMax: count) == section.stamps, "stamps survive the store")
    }
}

/// The same change once more changes no value.
private func checkRepetition(of change: TwinChange, on twin: Twin) {
    guard let again = apply(change, to: twin, at: 100)?.twin else {
        preconditionFailure("a change that fitted does not fit a second time")
    }
    precondition(again.tags == twin.tags, "tags stay")
    precondition(again.desired.text == twin.desired.text, "desired properties stay")
    precondition(again.reported.text == twin.reported.text, "reported properties stay")
}

private func parse(_ text: ByteBuffer) -> JSONValue {
    do {
        return try JSONDocument(parsing: text, limits: JSONLimits(bytesMax: 1 << 22, depthMax: 64)).root
    } catch {
        preconditionFailure("what a twin prints is no JSON: \(error)")
    }
}
