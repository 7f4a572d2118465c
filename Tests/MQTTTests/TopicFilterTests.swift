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
        ("a/+/c/#", "a/x/c", true), ("a/+/c/#", "a/x/d", false), ("A", "a", false),
    ])
    func `a filter covers what the standard says`(_ filter: String, _ topic: String, _ covers: Bool) {
        #expect(TopicFilter.matches(filter, topic: topic) == covers)
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
