// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import HubModel

/// What a path of the service API names (docs/wire/http.md#routes).
enum ServiceRoute: Hashable {
    /// All devices.
    case devices
    /// One device.
    case device(String)
    /// All modules of a device.
    case modules(String)
    /// One module.
    case module(IdentityID)
    /// The count of devices.
    case deviceStatistics
    /// The count of connections.
    case serviceStatistics
    /// The twin of a device or a module.
    case twin(IdentityID)
    /// The direct methods of a device or a module.
    case methods(IdentityID)
    /// The making of new keys.
    case keys
    /// The queue of commands of a device.
    case commands(String)
    /// All certificate authorities, one, or what is done with one.
    case certificates(name: String?, action: String?)
    /// Something that the API knows and this hub does not offer.
    case later(String, HTTPFailure.Form)
    /// Nothing.
    case unknown

    /// Reads a path, still percent-encoded and without its query.
    ///
    /// Fixed segments match in any letter case and a slash at the end is nothing; ids are decoded once, `+` stays.
    ///
    /// - Throws: `.argumentInvalid` for a malformed percent sequence
    init(path: Substring) throws(HubError) {
        var segments: [String] = []
        for raw in path.split(separator: "/", omittingEmptySubsequences: false).dropFirst() {
            guard let segment = PercentEncoding.decode(raw) else {
                throw HubError(.argumentInvalid, "The path holds a malformed percent sequence.")
            }
            segments.append(segment)
        }
        if segments.last?.isEmpty == true { segments.removeLast() }
        let words = segments.map { $0.lowercased() }
        switch (words.first, segments.count) {
        case ("devices", 1): self = .devices
        case ("devices", 2): self = .device(segments[1])
        case ("devices", _): self = Self.belowDevice(segments, words)
        case ("statistics", 2) where words[1] == "devices": self = .deviceStatistics
        case ("statistics", 2) where words[1] == "service": self = .serviceStatistics
        case ("twins", 3) where words[2] == "methods": self = .methods(IdentityID(device: segments[1]))
        case ("twins", 5) where words[2] == "modules" && words[4] == "methods":
            self = .methods(IdentityID(device: segments[1], module: segments[3]))
        case ("twins", 2): self = .twin(IdentityID(device: segments[1]))
        case ("twins", 4) where words[2] == "modules":
            self = .twin(IdentityID(device: segments[1], module: segments[3]))
        case ("certificates", 1...3):
            let action = segments.count == 3 ? words[2] : nil
            self = .certificates(name: segments.count > 1 ? segments[1] : nil, action: action)
        case ("digitaltwins", _): self = .later("digital twins", .numbered)
        case ("jobs", _): self = .later("jobs", .named)
        case ("configurations", _): self = .later("automatic device management", .named)
        case ("messages", _): self = .later("messages over HTTPS", .named)
        default: self = .unknown
        }
    }

    private static func belowDevice(_ segments: [String], _ words: [String]) -> ServiceRoute {
        switch words[2] {
        case "modules" where segments.count == 3: .modules(segments[1])
        case "modules" where segments.count == 4: .module(IdentityID(device: segments[1], module: segments[3]))
        case "commands" where segments.count == 3: .commands(segments[1])
        case "messages": .later("messages of devices over HTTPS", .named)
        case "files": .later("file upload", .named)
        case "applyconfigurationcontent": .later("automatic device management", .named)
        case "regenerate" where words[1] == "keys" && segments.count == 3: .keys
        default: .unknown
        }
    }

    /// In which form the route's errors are written.
    var errorForm: HTTPFailure.Form {
        switch self {
        case .methods: .numbered
        case .later(_, let form): form
        default: .named
        }
    }
}
