// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import MQTT
import Testing

@Suite struct TopicFilterTests {
    @Test(arguments: ["#", "+", "a", "/", "a/#", "+/b/#", "a/+/c", "a//b", "$iothub/#", "é/+", "/+", "//#"])
    func `a filter with its wildcards in place is valid`(_ filter: String) {
        #expect(TopicFilter.isValid(filter.utf8))
    }

    @Test(arguments: ["", "a#", "#/a", "a+", "+a", "a/b+/c", "##", "+#", "a/#/b", "++", "#/"])
    func `a filter with a wildcard out of place is not valid`(_ filter: String) {
        #expect(!TopicFilter.isValid(filter.utf8))
    }

    @Test(arguments: [
        ("#", "a", true), ("#", "a/b", true), ("#", "/", true), ("#", "$iothub/x", false), ("+/x", "$iothub/x", false),
        ("$iothub/#", "$iothub/x/y", true), ("$iothub/+/x", "$iothub/a/x", true),
        ("a/#", "a", true), ("a/#", "a/b/c", true), ("a/#", "ab", false), ("a/b/#", "a", false),
        ("a/+", "a/b", true), ("a/+", "a/b/c", false), ("a/+", "a", false), ("a/+", "a/", true),
        ("+/+", "/a", true), ("/+", "/a", true), ("+", "/a", false), ("a", "a/", false), ("a/b", "a/b", true),
        ("a/+/c/#", "a/x/c", true), ("a/+/c/#", "a/x/d", false), ("A", "a", false), ("+/#", "a", true),
        ("a/é/+", "a/é/ü", true), ("a/é", "a/e\u{301}", false), ("", "", true), ("a", "", false),
    ])
    func `a filter covers what the standard says`(_ filter: String, _ topic: String, _ covers: Bool) {
        #expect(TopicFilter.matches(filter, topic: topic) == covers)
    }

    @Test(arguments: [
        ("d/a+b/#", "d/a+b/x", true), ("d/a+b/#", "d/axb/x", false), ("d/a#/#", "d/a#/x", true),
        ("d/a#/#", "d/a/x", false), ("d/+a", "d/xa", false), ("d/#a", "d/x", false),
    ])
    func `a wildcard beside other characters is one of them`(_ filter: String, _ topic: String, _ covers: Bool) {
        #expect(TopicFilter.matches(filter, topic: topic) == covers)
    }

    @Test func `matching by bytes agrees with matching level by level`() {
        let alphabet = ["a", "b", "/", "/", "+", "#", "$"]
        var random = SeededGenerator(seed: 47)
        var covered = 0
        for _ in 0..<20_000 {
            let (filter, topic) = (random.text(of: alphabet, lengthMax: 7), random.text(of: alphabet, lengthMax: 7))
            let expected = Self.matchesByLevels(filter, topic)
            #expect(TopicFilter.matches(filter, topic: topic) == expected, "\(filter) \(topic)")
            if expected { covered += 1 }
        }
        #expect(covered > 500)
    }

    private static func matchesByLevels(_ filter: String, _ topic: String) -> Bool {
        let filterLevels = filter.split(separator: "/", omittingEmptySubsequences: false)
        let topicLevels = topic.split(separator: "/", omittingEmptySubsequences: false)
        if topic.hasPrefix("$"), filter.hasPrefix("+") || filter.hasPrefix("#") { return false }
        for (index, level) in filterLevels.enumerated() {
            if level == "#", index < topicLevels.count || index == filterLevels.count - 1 { return true }
            guard index < topicLevels.count, level == "+" || level == topicLevels[index] else { return false }
        }
        return filterLevels.count == topicLevels.count
    }

    @Test func `a subscription set grants the highest covering QoS`() {
        var set = SubscriptionSet()
        set.insert("a/#", granted: .atMostOnce)
        set.insert("a/b", granted: .atLeastOnce)
        #expect(set.granted(for: "a/b") == .atLeastOnce)
        #expect(set.granted(for: "a/c") == .atMostOnce)
        #expect(set.granted(for: "b") == nil)
        set.insert("a/#", granted: .atLeastOnce)
        #expect(set.held.map(\.filter) == ["a/#", "a/b"])
        #expect(set.granted(for: "a/c") == .atLeastOnce)
        #expect(set.remove("a/b") == true)
        #expect(set.remove("a/b") == false)
        #expect(set.granted(for: "a/c") == .atLeastOnce)
    }
}

extension SeededGenerator {
    fileprivate mutating func text(of alphabet: [String], lengthMax: Int) -> String {
        (0..<Int.random(in: 0...lengthMax, using: &self)).map { _ in alphabet.randomElement(using: &self) ?? "" }
            .joined()
    }
}
