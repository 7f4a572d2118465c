// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
public import NIOCore

extension AMQPFront {
    /// What a client is told that comes while the hub is full: a whole connection that ends with `amqp:connection:forced`,
    /// which SDKs try again after.
    ///
    /// - Parameter first: What the client said first. Behind the SASL header it is let through, whoever it is, to the
    ///   close that follows.
    /// - Returns: The bytes to send before the connection is closed.
    public static func refusal(to first: ByteBuffer) -> [UInt8] {
        var answer = ByteBuffer()
        if first.starts(with: ProtocolHeader.sasl) {
            ProtocolHeader.sasl.write(to: &answer)
            Frame.write(to: &answer, kind: .sasl) { SASLFrame.mechanisms(AMQPConnection.mechanisms).encode(into: &$0) }
            Frame.write(to: &answer, kind: .sasl) { SASLFrame.outcome(.ok, additionalData: nil).encode(into: &$0) }
        }
        ProtocolHeader.amqp.write(to: &answer)
        Frame.write(to: &answer) { Open(containerID: "roost").encode(into: &$0) }
        let error = AMQPError(.connectionForced, "The hub has as many connections as it takes; connect again later.")
        Frame.write(to: &answer) { Close(error: error).encode(into: &$0) }
        return Array(answer.readableBytesView)
    }
}

extension ByteBuffer {
    fileprivate func starts(with header: ProtocolHeader) -> Bool {
        var rest = self
        return ProtocolHeader.read(from: &rest) == .header(header)
    }
}
