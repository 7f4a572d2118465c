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
    public static func matches(_ filter: String, topic: String) -> Bool {
        var (filter, topic) = (filter, topic)
        return filter.withUTF8 { filter in topic.withUTF8 { topic in matches(filter, topic) } }
    }

    /// Walks both, byte by byte: every message that is sent to a client is matched.
    private static func matches(_ filter: UnsafeBufferPointer<UInt8>, _ topic: UnsafeBufferPointer<UInt8>) -> Bool {
        if topic.first == dollar, let first = filter.first, first == hash || first == plus { return false }
        var place = 0
        for index in filter.indices {
            switch filter[index] {
            case hash where isLevel(index, of: filter):
                return true
            case plus where isLevel(index, of: filter):
                while place < topic.count, topic[place] != slash { place += 1 }
            case let byte:
                guard place < topic.count else {
                    // `sport/#` covers `sport` too. (MQTT 4.7.1.2)
                    return byte == slash && filter.count == index + 2 && filter[index + 1] == hash
                }
                guard topic[place] == byte else { return false }
                place += 1
            }
        }
        return place == topic.count
    }

    /// Whether the byte at an index is a whole level of the filter.
    private static func isLevel(_ index: Int, of filter: UnsafeBufferPointer<UInt8>) -> Bool {
        (index == 0 || filter[index - 1] == slash) && (index + 1 == filter.count || filter[index + 1] == slash)
    }

    private static let slash = UInt8(ascii: "/")
    private static let hash = UInt8(ascii: "#")
    private static let plus = UInt8(ascii: "+")
    private static let dollar = UInt8(ascii: "$")
}
