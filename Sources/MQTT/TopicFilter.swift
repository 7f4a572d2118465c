// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// The rules of topic filters and of their matching. (MQTT 4.7)
public enum TopicFilter {
    /// True for a filter that is not empty and has its wildcards where they may be.
    ///
    /// `#` stands alone in the last level [MQTT-4.7.1-2], `+` alone in any level [MQTT-4.7.1-3].
    public static func isValid(_ filter: some Collection<UInt8>) -> Bool {
        guard !filter.isEmpty else { return false }  // [MQTT-4.7.3-1]
        var levelSize = 0
        var levelHasWildcard = false
        var seenHash = false
        for byte in filter {
            guard !seenHash else { return false }
            switch byte {
            case slash:
                levelSize = 0
                levelHasWildcard = false
            case hash, plus:
                guard levelSize == 0 else { return false }
                levelSize = 1
                levelHasWildcard = true
                seenHash = byte == hash
            default:
                guard !levelHasWildcard else { return false }
                levelSize += 1
            }
        }
        return true
    }

    /// True if a valid filter covers a topic name.
    ///
    /// A filter that starts with a wildcard does not cover topics that start with `$`. [MQTT-4.7.2-1]
    public static func matches(_ filter: some StringProtocol, topic: some StringProtocol) -> Bool {
        var filter = filter.utf8[...]
        var topic = topic.utf8[...]
        if topic.first == dollar, let first = filter.first, first == hash || first == plus { return false }
        while true {
            let level = filter.prefix { $0 != slash }
            if level.elementsEqual([hash]) { return true }
            let name = topic.prefix { $0 != slash }
            guard level.elementsEqual([plus]) || level.elementsEqual(name) else { return false }
            let filterEnds = level.endIndex == filter.endIndex
            let topicEnds = name.endIndex == topic.endIndex
            if filterEnds && topicEnds { return true }
            guard !filterEnds else { return false }
            filter = filter[filter.index(after: level.endIndex)...]
            // `sport/#` covers `sport` too. (MQTT 4.7.1.2)
            guard !topicEnds else { return filter.elementsEqual([hash]) }
            topic = topic[topic.index(after: name.endIndex)...]
        }
    }

    private static let slash = UInt8(ascii: "/")
    private static let hash = UInt8(ascii: "#")
    private static let plus = UInt8(ascii: "+")
    private static let dollar = UInt8(ascii: "$")
}
