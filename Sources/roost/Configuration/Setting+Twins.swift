// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel

extension Setting {
    /// What twins may hold, and what direct methods may take.
    static let twinsAndMethods: [Setting] = twins + methods

    private static let twins: [Setting] = [
        .number(
            "twins.sectionBytes",
            \.limits.twins.sectionBytesMax,
            1_024...1_048_576,
            "Desired and reported properties, each: names and values, without brackets, commas and metadata."
        ),
        .number("twins.tagsBytes", \.limits.twins.tagsBytesMax, 1_024...1_048_576, "Tags, counted alike."),
        .number("twins.depth", \.limits.twins.depthMax, 1...32, "How deep objects and arrays nest below a section."),
        .number("twins.nameBytes", \.limits.twins.nameBytesMax, 64...65_536, "The longest name."),
        .number("twins.stringBytes", \.limits.twins.stringBytesMax, 64...1_048_576, "The longest string."),
        .number("twins.numberBytes", \.limits.twins.numberBytesMax, 20...4_096, "The longest text of a number."),
        .number(
            "twins.textToSize",
            \.limits.twins.textToSizeMax,
            1...64,
            "How many times longer a section's text, white space included, may be than what is counted of it."
        ),
        .number(
            "twins.requestsPerConnection",
            \.limits.twinRequestsPerConnectionMax,
            1...1_000_000,
            "Requests of one connection that may wait for its twin; more are answered with 429."
        ),
    ]

    private static let methods: [Setting] = [
        .number(
            "methods.payloadBytes",
            \.limits.methods.payloadBytesMax,
            1_024...16_777_216,
            "The largest argument and the largest answer of a direct method."
        ),
        .number("methods.nameLength", \.limits.methods.nameLengthMax, 1...1_024, "The longest name, in characters."),
        .number(
            "methods.responseSeconds",
            \.limits.methods.responseTimeoutSecondsDefault,
            5...300,
            "How long a device may take to answer, where the caller does not say."
        ),
        .number(
            "methods.connectSecondsMax",
            \.limits.methods.connectTimeoutSecondsMax,
            0...3_600,
            "The longest time to wait for a device to connect; what is asked beyond is clamped."
        ),
        .number(
            "methods.inFlightPerIdentity",
            \.limits.methods.inFlightPerIdentityMax,
            1...1_000_000,
            "Calls that may wait for the answers of one device or module."
        ),
    ]
}
