// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore

// Frames other than transfers cannot be cut, so an error that a frame of the peer does not hold is made shorter
// (AMQP 2.4.1, 2.7.1).
extension ConnectionEngine {
    /// The bytes of a frame around the text of its error at most, the condition included.
    private static let bytesAroundError = 192

    /// The error with so much of its description as fits; its info only where everything fits.
    func fitting(_ error: AMQPError?) -> AMQPError? {
        guard var error else { return nil }
        let room = Int(peerFrameBytesMax) - Self.bytesAroundError
        if let info = error.info {
            var encoded = ByteBuffer()
            encoded.writeAMQPMap(info)
            if encoded.readableBytes + (error.description?.utf8.count ?? 0) > room { error.info = nil }
        }
        if let text = error.description, text.utf8.count > room { error.description = text.cut(toBytes: room) }
        return error
    }

    /// The state, where it is a rejection with the error made to fit.
    func fitting(_ state: DeliveryState) -> DeliveryState {
        guard case .rejected(let error?) = state else { return state }
        return .rejected(fitting(error))
    }
}

extension String {
    /// As many whole characters of Unicode from the front as so many bytes of UTF-8 hold.
    fileprivate func cut(toBytes count: Int) -> String {
        var end = utf8.index(startIndex, offsetBy: count, limitedBy: endIndex) ?? endIndex
        while end.samePosition(in: unicodeScalars) == nil { end = utf8.index(before: end) }
        return String(self[..<end])
    }
}
