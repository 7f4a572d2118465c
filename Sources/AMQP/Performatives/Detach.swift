// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// Detaches a link from its session (AMQP 2.7.7).
public struct Detach: Equatable, Sendable {
    /// The link.
    public var handle: UInt32
    /// Whether the link is closed and not only suspended.
    public var closed: Bool?
    /// Why, when something went wrong.
    public var error: AMQPError?

    /// A detach from its parts.
    public init(handle: UInt32, closed: Bool? = nil, error: AMQPError? = nil) {
        self.handle = handle
        self.closed = closed
        self.error = error
    }

    init(fields: inout CompositeReader) throws(AMQPDecodeError) {
        guard let handle = try fields.uint() else { throw .missingField("handle") }
        self.handle = handle
        closed = try fields.bool()
        error = try fields.composite(AMQPError.init(fields:))
    }

    /// Appends the performative to `buffer`.
    public func encode(into buffer: inout ByteBuffer) {
        buffer.writeAMQPComposite(Descriptor.detach, count: 3) { buffer in
            buffer.writeAMQPUInt(handle)
            buffer.writeAMQPBool(closed)
            if let error { error.encode(into: &buffer) } else { buffer.writeAMQPNull() }
        }
    }
}
