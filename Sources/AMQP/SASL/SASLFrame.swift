// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// The body of a frame of the SASL layer (AMQP 5.3.3).
public enum SASLFrame: Equatable, Sendable {
    /// The mechanisms that the server offers.
    case mechanisms([String])
    /// The client's choice.
    case initiate(SASLInit)
    /// A question of the server.
    case challenge(ByteBuffer)
    /// The client's answer to it.
    case response(ByteBuffer)
    /// How it ended.
    case outcome(SASLOutcomeCode, additionalData: ByteBuffer?)

    /// Decodes the body of a frame.
    public init(body: ByteBuffer, limits: AMQPLimits = AMQPLimits()) throws(AMQPDecodeError) {
        var fields = try CompositeReader(AMQPReader(body, limits: limits))
        guard let code = UInt8(exactly: fields.code) else { throw .unknownDescriptor }
        switch code {
        case Descriptor.saslMechanisms:
            guard let mechanisms = try fields.symbols() else { throw .missingField("sasl-server-mechanisms") }
            self = .mechanisms(mechanisms)
        case Descriptor.saslInit:
            guard let mechanism = try fields.symbol() else { throw .missingField("mechanism") }
            let response = try fields.binary()
            self = .initiate(
                SASLInit(mechanism: mechanism, initialResponse: response, hostname: try fields.string())
            )
        case Descriptor.saslChallenge:
            guard let challenge = try fields.binary() else { throw .missingField("challenge") }
            self = .challenge(challenge)
        case Descriptor.saslResponse:
            guard let response = try fields.binary() else { throw .missingField("response") }
            self = .response(response)
        case Descriptor.saslOutcome:
            guard let code = try fields.ubyte() else { throw .missingField("code") }
            guard let code = SASLOutcomeCode(rawValue: code) else { throw .invalidField("code") }
            self = .outcome(code, additionalData: try fields.binary())
        default: throw .unknownDescriptor
        }
        guard try fields.finish().isAtEnd else { throw .inconsistentSize }
    }

    /// Appends the body to `buffer`.
    public func encode(into buffer: inout ByteBuffer) {
        switch self {
        case .mechanisms(let mechanisms):
            buffer.writeAMQPComposite(Descriptor.saslMechanisms, count: 1) { $0.writeAMQPSymbols(mechanisms) }
        case .initiate(let start):
            buffer.writeAMQPComposite(Descriptor.saslInit, count: 3) { buffer in
                buffer.writeAMQPSymbol(start.mechanism)
                buffer.writeAMQPBinary(start.initialResponse)
                buffer.writeAMQPString(start.hostname)
            }
        case .challenge(let bytes):
            buffer.writeAMQPComposite(Descriptor.saslChallenge, count: 1) { $0.writeAMQPBinary(bytes) }
        case .response(let bytes):
            buffer.writeAMQPComposite(Descriptor.saslResponse, count: 1) { $0.writeAMQPBinary(bytes) }
        case .outcome(let code, let additionalData):
            buffer.writeAMQPComposite(Descriptor.saslOutcome, count: 2) { buffer in
                buffer.writeAMQPUByte(code.rawValue)
                buffer.writeAMQPBinary(additionalData)
            }
        }
    }
}

/// The client's choice of a mechanism, with what the mechanism sends first.
public struct SASLInit: Equatable, Sendable {
    /// The name of the mechanism.
    public var mechanism: String
    /// What the mechanism sends first; a secret for PLAIN.
    public var initialResponse: ByteBuffer?
    /// The host that the client wants to reach.
    public var hostname: String?

    /// A choice from its parts.
    public init(mechanism: String, initialResponse: ByteBuffer? = nil, hostname: String? = nil) {
        self.mechanism = mechanism
        self.initialResponse = initialResponse
        self.hostname = hostname
    }
}

/// How authentication ended (AMQP 5.3.3.6).
public enum SASLOutcomeCode: UInt8, Sendable {
    /// The client is who it says.
    case ok = 0
    /// The client is not.
    case auth = 1
    /// The system failed.
    case system = 2
    /// The system failed and will go on failing.
    case systemPermanent = 3
    /// The system failed and may work later.
    case systemTemporary = 4
}
