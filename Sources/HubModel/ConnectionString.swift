// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// A connection string of a service, a device, a module or a reader of the built-in endpoint.
///
/// The text holds a key, so it is printed only where a user asks for it: this type describes itself without it.
public struct ConnectionString: Hashable, Sendable {
    /// What the string lets its holder be.
    public enum Peer: Hashable, Sendable {
        /// A service: a shared access policy of the hub.
        case service(policy: String)
        /// A device that signs in with its own key.
        case device(id: String)
        /// A module that signs in with its own key.
        case module(deviceID: String, moduleID: String)
        /// A reader of the built-in endpoint: a policy and the name of the event hub, which may be left to the client.
        case eventHub(policy: String, name: String?)
    }

    /// What the string lets its holder be.
    public let peer: Peer
    /// The host name as written, which is what tokens are signed for; it may end in `:port`.
    public let hostName: String
    /// The key as base64 text.
    public let key: String
    /// The name of another host to connect to, whose tokens still name ``hostName``.
    public let gatewayHostName: String?

    /// Makes a connection string of its parts.
    public init(peer: Peer, hostName: String, key: String, gatewayHostName: String? = nil) {
        self.peer = peer
        self.hostName = hostName
        self.key = key
        self.gatewayHostName = gatewayHostName
    }

    /// Reads a connection string.
    ///
    /// Field names compare case-insensitively and one trailing `;` is allowed, for people paste these; a field given
    /// twice is refused.
    ///
    /// - Throws: ``ConnectionStringError``, which names the field at fault and never its value.
    public init(parsing text: String) throws(ConnectionStringError) {
        var fields = Fields()
        for part in text.split(separator: ";", omittingEmptySubsequences: true) {
            try fields.add(part)
        }
        if let endpoint = fields["endpoint"] {
            self = try Self.eventHub(endpoint: endpoint, fields: fields)
            return
        }
        let hostName = try fields.required("HostName")
        let gateway = fields["gatewayhostname"]
        guard let deviceID = fields["deviceid"] else {
            let policy = try fields.required("SharedAccessKeyName")
            let key = try fields.required("SharedAccessKey")
            self.init(peer: .service(policy: policy), hostName: hostName, key: key, gatewayHostName: gateway)
            return
        }
        let key = try fields.required("SharedAccessKey")
        guard let moduleID = fields["moduleid"] else {
            self.init(peer: .device(id: deviceID), hostName: hostName, key: key, gatewayHostName: gateway)
            return
        }
        let peer = Peer.module(deviceID: deviceID, moduleID: moduleID)
        self.init(peer: peer, hostName: hostName, key: key, gatewayHostName: gateway)
    }

    /// The string in the one spelling that every client's parser accepts: exact names, no trailing `;`, padding kept.
    public var text: String {
        let gateway = self.gatewayHostName.map { ";GatewayHostName=\($0)" } ?? ""
        switch self.peer {
        case .service(let policy):
            return "HostName=\(self.hostName);SharedAccessKeyName=\(policy);SharedAccessKey=\(self.key)" + gateway
        case .device(let id):
            return "HostName=\(self.hostName);DeviceId=\(id);SharedAccessKey=\(self.key)" + gateway
        case .module(let deviceID, let moduleID):
            let identity = "DeviceId=\(deviceID);ModuleId=\(moduleID)"
            return "HostName=\(self.hostName);\(identity);SharedAccessKey=\(self.key)" + gateway
        case .eventHub(let policy, let name):
            let credentials = "SharedAccessKeyName=\(policy);SharedAccessKey=\(self.key)"
            return "Endpoint=sb://\(self.hostName)/;\(credentials)" + (name.map { ";EntityPath=\($0)" } ?? "")
        }
    }

    private static func eventHub(endpoint: String, fields: Fields) throws(ConnectionStringError) -> ConnectionString {
        var host = Substring(endpoint)
        guard let scheme = host.firstRange(of: "://"), host[..<scheme.lowerBound].lowercased() == "sb" else {
            throw .malformed(field: "Endpoint")
        }
        host = host[scheme.upperBound...]
        while host.hasSuffix("/") {
            host.removeLast()
        }
        guard !host.isEmpty, !host.contains("/") else { throw .malformed(field: "Endpoint") }
        let policy = try fields.required("SharedAccessKeyName")
        let key = try fields.required("SharedAccessKey")
        return .init(peer: .eventHub(policy: policy, name: fields["entitypath"]), hostName: String(host), key: key)
    }
}

extension ConnectionString: CustomStringConvertible, CustomDebugStringConvertible {
    /// The host and the peer, without the key.
    public var description: String {
        "\(self.peer) at \(self.hostName)"
    }

    /// The same as ``description``: a key never reaches a log by way of a debugger's view.
    public var debugDescription: String {
        self.description
    }
}

/// What is wrong with a connection string; safe to print.
public enum ConnectionStringError: Error, Hashable, Sendable, CustomStringConvertible {
    /// A part has no `=`, or its value cannot be what the field needs.
    case malformed(field: String)
    /// A field that this kind of string needs is not there, or is empty.
    case missing(field: String)
    /// A field is there twice.
    case repeated(field: String)

    /// One sentence for people.
    public var description: String {
        switch self {
        case .malformed(let field): "the connection string has a malformed part '\(field)'"
        case .missing(let field): "the connection string has no \(field)"
        case .repeated(let field): "the connection string has \(field) more than once"
        }
    }
}

/// The fields of a connection string, by lower-cased name.
private struct Fields {
    private var values: [String: String] = [:]

    mutating func add(_ part: Substring) throws(ConnectionStringError) {
        // Only the first `=` separates: keys are base64 and end in more of them.
        guard let equals = part.firstIndex(of: "="), equals > part.startIndex else {
            // The part may be a stray piece of a key, so it is not repeated in the message.
            throw .malformed(field: "without '='")
        }
        let name = String(part[..<equals])
        let value = String(part[part.index(after: equals)...])
        guard self.values.updateValue(value, forKey: name.lowercased()) == nil else { throw .repeated(field: name) }
    }

    subscript(_ name: String) -> String? {
        guard let value = self.values[name], !value.isEmpty else { return nil }
        return value
    }

    func required(_ name: String) throws(ConnectionStringError) -> String {
        guard let value = self[name.lowercased()] else { throw .missing(field: name) }
        return value
    }
}
