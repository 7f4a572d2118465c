// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import JSON
import NIOCore

/// Parses bytes as JSON, walks through what was parsed, prints it and parses that again.
///
/// Shared by the fuzzer and the test that replays its finds.
func exerciseJSON(_ bytes: [UInt8]) {
    let limits = JSONLimits(bytesMax: 1 << 20, depthMax: 64)
    guard let document = parse(ByteBuffer(bytes: bytes), limits) else { return }
    walk(document.root)
    for isCompact in [false, true] {
        var writer = JSONWriter()
        if isCompact { writer.compactValue(document.root) } else { writer.value(document.root) }
        guard let again = parse(writer.buffer, limits) else {
            preconditionFailure("what was printed can't be parsed")
        }
        precondition(equal(document.root, again.root), "a value survives a round trip")
    }
}

private func parse(_ text: ByteBuffer, _ limits: JSONLimits) -> JSONDocument? {
    do {
        return try JSONDocument(parsing: text, limits: limits)
    } catch {
        return nil
    }
}

private func walk(_ value: JSONValue) {
    _ = (value.kind, value.isNull, value.bool, value.string, value.numberText, value.int, value.double, value.raw)
    for member in value.members {
        precondition(member.isNamed(member.name), "a member has the name it says")
        precondition(value[member.name] != nil, "a member is found by its name")
        walk(member.value)
    }
    for element in value.elements {
        walk(element)
    }
}

private func equal(_ left: JSONValue, _ right: JSONValue) -> Bool {
    guard left.kind == right.kind, left.string == right.string, left.numberText == right.numberText,
        left.bool == right.bool
    else { return false }
    let (leftMembers, rightMembers) = (Array(left.members), Array(right.members))
    let (leftElements, rightElements) = (Array(left.elements), Array(right.elements))
    return leftMembers.count == rightMembers.count && leftElements.count == rightElements.count
        && zip(leftMembers, rightMembers).allSatisfy { $0.name == $1.name && equal($0.value, $1.value) }
        && zip(leftElements, rightElements).allSatisfy(equal)
}
