// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel
import JSON
import NIOCore
import Testing

/// What the tests of twins share.
enum TwinFixtures {
    static let id = IdentityID(device: "d1")
    /// 2024-03-01T10:00:00.123Z.
    static let now: Int64 = 1_709_287_200_123
    static let nowText = "2024-03-01T10:00:00.1230000Z"
    static let limits = TwinLimits()

    /// A document of objects so many levels deep below the root, with a number in the innermost.
    static func nested(_ levels: Int) -> String {
        String(repeating: #"{"a":"#, count: levels) + "{\"x\":1}" + String(repeating: "}", count: levels)
    }

    /// The members of the document that back ends read.
    static func document(_ twin: Twin, _ identity: RegisteredIdentity? = nil) throws -> JSONValue {
        let identity = identity ?? RegisteredIdentity(id: twin.id, generationID: "1", etag: "MQ==")
        return try JSONDocument(parsing: twin.serviceDocument(of: identity, IdentityActivity())).root
    }
}

extension Twin {
    /// Applies a back end's PATCH.
    func patched(_ body: String, ifMatch: [String]? = nil, at time: Int64 = TwinFixtures.now) throws -> TwinUpdate {
        let change = try TwinChange(
            serviceBody: ByteBuffer(string: body),
            replaces: false,
            limits: TwinFixtures.limits
        )
        return try self.applying(change, ifMatch: ifMatch, atMilliseconds: time, limits: TwinFixtures.limits)
    }

    /// Applies a back end's PATCH of desired properties.
    func desiring(_ properties: String, at time: Int64 = TwinFixtures.now) throws -> TwinUpdate {
        try self.patched(#"{"properties":{"desired":\#(properties)}}"#, at: time)
    }

    /// Applies a back end's PUT.
    func replaced(_ body: String, ifMatch: [String]? = nil) throws -> TwinUpdate {
        let change = try TwinChange(serviceBody: ByteBuffer(string: body), replaces: true, limits: TwinFixtures.limits)
        return try self.applying(
            change,
            ifMatch: ifMatch,
            atMilliseconds: TwinFixtures.now,
            limits: TwinFixtures.limits
        )
    }

    /// Applies a device's patch of its reported properties.
    func reporting(_ body: String, ifVersion: Int64? = nil, at time: Int64 = TwinFixtures.now) throws -> TwinUpdate {
        let change = try TwinChange(
            reportedBody: ByteBuffer(string: body),
            ifVersion: ifVersion,
            limits: TwinFixtures.limits
        )
        return try self.applying(change, atMilliseconds: time, limits: TwinFixtures.limits)
    }
}

extension ByteBuffer {
    /// The bytes as text.
    var text: String { String(buffer: self) }
}

/// The code of the error that a call throws.
func code(_ call: () throws -> Void) -> HubErrorCode? {
    do { try call() } catch { return (error as? HubError)?.code }
    return nil
}

/// The message of the error that a call throws.
func message(_ call: () throws -> Void) -> String? {
    do { try call() } catch { return (error as? HubError)?.message }
    return nil
}
