// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// Closes a connection (AMQP 2.7.9).
public struct Close: Equatable, Sendable {
    /// Why, when something went wrong.
    public var error: AMQPError?

    /// One that gives an error, or none.
    public init(error: AMQPError? = nil) { self.error = error }

    init(fields: inout CompositeReader) throws(AMQPDecodeError) {
        error = try fields.composite(AMQPError.init(fields:))
    }

    /// Appends the performative to `buffer`.
    public func encode(into buffer: inout ByteBuffer) {
        buffer.writeAMQPComposite(Descriptor.close, count: 1) { buffer in
            if let error { error.encode(into: &buffer) } else { buffer.writeAMQPNull() }
        }
    }
}
