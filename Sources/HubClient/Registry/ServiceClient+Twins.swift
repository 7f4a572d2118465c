// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import FoundationEssentials
public import HubModel
import NIOHTTP1

/// Twins, direct methods and command queues: what a service asks of one device or module.
extension ServiceClient {
    /// How a twin is written.
    public enum TwinWrite: Sendable {
        /// What the body names is merged in; a null takes a member away.
        case merge
        /// Each section that the body has takes the place of the stored one.
        case replace
    }

    /// What a device answered to a direct method.
    public struct MethodAnswer: Decodable, Hashable, Sendable {
        /// The device's own code: 200 by habit, and whatever it likes.
        public let status: Int32
    }

    /// What a purge of a command queue did.
    public struct PurgeAnswer: Decodable, Hashable, Sendable {
        /// How many commands were taken out of the queue.
        public let totalMessagesPurged: Int
    }

    /// Reads a twin.
    ///
    /// - Parameter id: the device or module.
    /// - Returns: the document as the hub wrote it.
    /// - Throws: ``HubClientError``.
    public func twin(_ id: IdentityID) async throws -> Data {
        try await self.document(self.send(.GET, path: Self.twinPath(id)))
    }

    /// Writes tags and desired properties of a twin.
    ///
    /// - Parameters:
    ///   - id: the device or module.
    ///   - body: a JSON object with `tags`, `properties.desired`, or both.
    ///   - write: whether to merge or to replace.
    ///   - etag: the etag that the twin must have, or nil for any.
    /// - Returns: the twin as it is now.
    /// - Throws: ``HubClientError``.
    public func writeTwin(
        _ id: IdentityID,
        _ body: Data,
        _ write: TwinWrite,
        ifMatch etag: String?
    ) async throws -> Data {
        let answer = try await self.send(
            write == .merge ? .PATCH : .PUT,
            path: Self.twinPath(id),
            body: body,
            ifMatch: etag ?? "*"
        )
        return try self.document(answer)
    }

    /// Calls a direct method and waits for the answer of the device.
    ///
    /// - Parameters:
    ///   - name: the method.
    ///   - id: the device or module.
    ///   - payload: a JSON text, or nil to send none.
    ///   - responseSeconds: how long the device may take, 5 to 300.
    ///   - connectSeconds: how long to wait for a device that is not connected, 0 to 300.
    /// - Returns: the device's code, and the document with its payload.
    /// - Throws: ``HubClientError``; a device that is not there or does not answer is a refusal of the hub.
    public func invoke(
        _ name: String,
        on id: IdentityID,
        payload: Data?,
        responseSeconds: Int = 30,
        connectSeconds: Int = 0
    ) async throws -> Answer<MethodAnswer> {
        var body = Data("{\"methodName\":".utf8)
        body += try JSONEncoder().encode(name)
        body += Data(",\"responseTimeoutInSeconds\":\(responseSeconds)".utf8)
        body += Data(",\"connectTimeoutInSeconds\":\(connectSeconds)".utf8)
        if let payload {
            body += Data(",\"payload\":".utf8) + payload
        }
        body += Data("}".utf8)
        // The hub answers when the device's time is over: the client must not give up before.
        let patience = Duration.seconds(responseSeconds + connectSeconds) + self.limits.request
        return try await self.send(.POST, path: Self.twinPath(id) + "/methods", body: body, timeout: patience).decoded()
    }

    /// Takes every command that waits for a device out of its queue.
    ///
    /// - Parameter deviceID: the device.
    /// - Returns: how many there were.
    /// - Throws: ``HubClientError``.
    public func purgeCommands(of deviceID: String) async throws -> Answer<PurgeAnswer> {
        try await self.send(.DELETE, path: "/devices/\(percentEncoded(deviceID))/commands").decoded()
    }

    private static func twinPath(_ id: IdentityID) -> String {
        let module = id.module.map { "/modules/\(percentEncoded($0))" } ?? ""
        return "/twins/\(percentEncoded(id.device))\(module)"
    }

    private func document(_ answer: RawAnswer) throws(HubClientError) -> Data {
        guard (200..<300).contains(answer.status) else { throw answer.refusal }
        return answer.document
    }
}
