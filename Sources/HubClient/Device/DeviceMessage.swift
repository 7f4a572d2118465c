// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// A message from a device, as its SDK would send it over MQTT.
public struct DeviceMessage: Hashable, Sendable {
    /// The content, of any kind.
    public var body: ByteBuffer
    /// The application's properties, in order.
    public var properties: [Property]
    /// The system property `content-type`.
    public var contentType: String?
    /// The system property `content-encoding`.
    public var contentEncoding: String?
    /// The system property `message-id`.
    public var messageID: String?
    /// The system property `correlation-id`.
    public var correlationID: String?

    /// A name and a value.
    public struct Property: Hashable, Sendable {
        /// The name.
        public var name: String
        /// The value; nil is a name without `=`.
        public var value: String?

        /// Makes a property.
        public init(name: String, value: String?) {
            self.name = name
            self.value = value
        }
    }

    /// Makes a message.
    public init(body: ByteBuffer, properties: [Property] = []) {
        self.body = body
        self.properties = properties
    }

    /// The property bag at the end of a telemetry topic (docs/wire/mqtt.md).
    public var propertyBag: String {
        // System properties come first and percent-encoded, as the Python SDK writes them.
        let system = [
            ("$.mid", self.messageID), ("$.cid", self.correlationID), ("$.ct", self.contentType),
            ("$.ce", self.contentEncoding),
        ].compactMap { name, value in value.map { Property(name: name, value: $0) } }
        return (system + self.properties).map { property in
            let name = percentEncoded(property.name)
            return property.value.map { "\(name)=\(percentEncoded($0))" } ?? name
        }.joined(separator: "&")
    }
}
