// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// What a back end asks of a device in a direct method.
public struct MethodRequest: Sendable, Hashable {
    /// The name of the method; upper and lower case differ.
    public var name: String
    /// The argument as JSON text, empty where there is none.
    public var payload: ByteBuffer
    /// How long the device may take to answer, in seconds.
    public var responseTimeoutSeconds: Int
    /// How long to wait for a device that is not connected, in seconds.
    public var connectTimeoutSeconds: Int

    /// Makes a request.
    public init(name: String, payload: ByteBuffer, responseTimeoutSeconds: Int = 30, connectTimeoutSeconds: Int = 0) {
        self.name = name
        self.payload = payload
        self.responseTimeoutSeconds = responseTimeoutSeconds
        self.connectTimeoutSeconds = connectTimeoutSeconds
    }
}

/// What a device answered.
public struct MethodResult: Sendable, Hashable {
    /// The number that the device chose.
    public var status: Int32
    /// The answer as JSON text, empty where there is none.
    public var payload: ByteBuffer

    /// Makes a result.
    public init(status: Int32, payload: ByteBuffer) {
        self.status = status
        self.payload = payload
    }
}

/// Names a call of a method towards the device: as a number, and as a UUID of version 4 for protocols that want one.
public struct MethodCallID: Sendable, Hashable {
    /// The number; no two calls of a program's run have the same.
    public let number: UInt64
    /// The upper half of the UUID, alike for all calls of a run.
    private let salt: UInt64

    /// Names a call; `salt` is any random number, `number` lies below 2^62.
    public init(number: UInt64, salt: UInt64) {
        self.number = number & (1 << 62 - 1)
        self.salt = salt & ~0xF000 | 0x4000
    }

    /// Reads the UUID of a call that has that salt; nil where it is another's.
    public init?(uuid bytes: some Sequence<UInt8>, salt: UInt64) {
        let bytes = Array(bytes)
        guard bytes.count == 16 else { return nil }
        let halves = (bytes[..<8], bytes[8...])
        let low = halves.1.reduce(0) { $0 << 8 | UInt64($1) }
        self.init(number: low, salt: salt)
        guard halves.0.reduce(0, { $0 << 8 | UInt64($1) }) == self.salt, low >> 62 == 0b10 else { return nil }
    }

    /// The UUID in the order of its text.
    public var uuid: [UInt8] {
        let low = self.number | 1 << 63
        return [self.salt, low].flatMap { half in (0..<8).map { UInt8(truncatingIfNeeded: half >> (56 - 8 * $0)) } }
    }
}

/// A call of a method on its way to a device.
public struct MethodCall: Sendable, Hashable {
    /// What the answer is matched by.
    public let id: MethodCallID
    /// The name of the method.
    public let name: String
    /// The argument as JSON text, empty where there is none.
    public let payload: ByteBuffer

    /// Makes a call.
    public init(id: MethodCallID, name: String, payload: ByteBuffer) {
        self.id = id
        self.name = name
        self.payload = payload
    }
}
