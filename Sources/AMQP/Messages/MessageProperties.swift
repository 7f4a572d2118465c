// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// The properties section of a message (AMQP 3.2.4).
public struct MessageProperties: Equatable, Sendable {
    /// The id of the message: string, ulong, uuid or binary.
    public var messageID: AMQPValue?
    /// Who made the message.
    public var userID: ByteBuffer?
    /// The node that the message is for.
    public var to: String?
    /// What it is about.
    public var subject: String?
    /// The node that answers go to.
    public var replyTo: String?
    /// The id of the message that this one belongs to: string, ulong, uuid or binary.
    public var correlationID: AMQPValue?
    /// The media type of the body.
    public var contentType: String?
    /// The encoding of the body.
    public var contentEncoding: String?
    /// When the message expires, in milliseconds since 1970.
    public var absoluteExpiryTime: Int64?
    /// When the message was made, in milliseconds since 1970.
    public var creationTime: Int64?
    /// The group that the message belongs to.
    public var groupID: String?
    /// The place in that group.
    public var groupSequence: UInt32?
    /// The group that answers belong to.
    public var replyToGroupID: String?

    /// Properties that are all absent.
    public init() {}

    /// Decodes the encoded list of the section, without the descriptor.
    public init(list: ByteBuffer) throws(AMQPDecodeError) {
        var described = ByteBuffer()
        described.reserveCapacity(list.readableBytes + 3)
        described.writeAMQPDescriptor(Descriptor.properties)
        described.writeImmutableBuffer(list)
        var fields = try CompositeReader(AMQPReader(described))
        messageID = try fields.value()
        userID = try fields.binary()
        to = try fields.text()
        subject = try fields.text()
        replyTo = try fields.text()
        correlationID = try fields.value()
        contentType = try fields.text()
        contentEncoding = try fields.text()
        absoluteExpiryTime = try fields.timestamp()
        creationTime = try fields.timestamp()
        groupID = try fields.text()
        groupSequence = try fields.uint()
        replyToGroupID = try fields.text()
        _ = try fields.finish()
    }

    /// Appends the whole section to `buffer`, with all of its fields.
    public func encode(into buffer: inout ByteBuffer) {
        buffer.writeAMQPComposite(Descriptor.properties, count: 13) { buffer in
            buffer.writeAMQPValue(messageID ?? .null)
            buffer.writeAMQPBinary(userID)
            buffer.writeAMQPString(to)
            buffer.writeAMQPString(subject)
            buffer.writeAMQPString(replyTo)
            buffer.writeAMQPValue(correlationID ?? .null)
            buffer.writeAMQPSymbol(contentType)
            buffer.writeAMQPSymbol(contentEncoding)
            buffer.writeAMQPTimestamp(absoluteExpiryTime)
            buffer.writeAMQPTimestamp(creationTime)
            buffer.writeAMQPString(groupID)
            buffer.writeAMQPUInt(groupSequence)
            buffer.writeAMQPString(replyToGroupID)
        }
    }
}
