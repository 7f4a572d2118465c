// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// What the body of an AMQP frame begins with (AMQP 2.7).
public enum Performative: Equatable, Sendable {
    /// Opens the connection.
    indirect case open(Open)
    /// Begins a session.
    indirect case begin(Begin)
    /// Attaches a link.
    indirect case attach(Attach)
    /// Tells flow state.
    case flow(Flow)
    /// Carries a message or a part of one.
    case transfer(Transfer)
    /// Tells the state of deliveries.
    case disposition(Disposition)
    /// Detaches a link.
    indirect case detach(Detach)
    /// Ends a session.
    indirect case end(End)
    /// Closes the connection.
    indirect case close(Close)

    /// Decodes the performative at the front of the body of a frame; the payload is left in `body`.
    public init(body: inout ByteBuffer, limits: AMQPLimits = AMQPLimits()) throws(AMQPDecodeError) {
        var fields = try CompositeReader(AMQPReader(body, limits: limits))
        guard let code = UInt8(exactly: fields.code) else { throw .unknownDescriptor }
        switch code {
        case Descriptor.open: self = .open(try Open(fields: &fields))
        case Descriptor.begin: self = .begin(try Begin(fields: &fields))
        case Descriptor.attach: self = .attach(try Attach(fields: &fields))
        case Descriptor.flow: self = .flow(try Flow(fields: &fields))
        case Descriptor.transfer: self = .transfer(try Transfer(fields: &fields))
        case Descriptor.disposition: self = .disposition(try Disposition(fields: &fields))
        case Descriptor.detach: self = .detach(try Detach(fields: &fields))
        case Descriptor.end: self = .end(try End(fields: &fields))
        case Descriptor.close: self = .close(try Close(fields: &fields))
        default: throw .unknownDescriptor
        }
        body = try fields.finish().buffer
    }

    /// Appends the performative to `buffer`.
    public func encode(into buffer: inout ByteBuffer) {
        switch self {
        case .open(let performative): performative.encode(into: &buffer)
        case .begin(let performative): performative.encode(into: &buffer)
        case .attach(let performative): performative.encode(into: &buffer)
        case .flow(let performative): performative.encode(into: &buffer)
        case .transfer(let performative): performative.encode(into: &buffer)
        case .disposition(let performative): performative.encode(into: &buffer)
        case .detach(let performative): performative.encode(into: &buffer)
        case .end(let performative): performative.encode(into: &buffer)
        case .close(let performative): performative.encode(into: &buffer)
        }
    }
}
