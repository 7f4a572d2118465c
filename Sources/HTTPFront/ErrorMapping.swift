// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import HubModel
import HummingbirdCore
import JSON
import NIOCore

/// A request that fails, as the service API says it (docs/wire/http.md#errors).
struct HTTPFailure: Error, Hashable {
    /// In which of the two forms the body is written; what SDKs parse differs by route.
    enum Form: Hashable {
        /// `Message` is the name of the code and a sentence.
        case named
        /// `Message` is the text of a JSON object that carries the number.
        case numbered
    }

    var status: HTTPResponse.Status
    /// The name in the header, and in bodies of the named form.
    var name: String
    /// The number in bodies of the numbered form.
    var number: Int
    var message: String
    /// Whether the connection can't be used any further.
    var closes = false

    init(_ status: HTTPResponse.Status, _ name: String, _ number: Int, _ message: String) {
        self.status = status
        self.name = name
        self.number = number
        self.message = message
    }

    static let missingVersion = HTTPFailure(
        .badRequest,
        "InvalidProtocolVersion",
        400_001,
        "The query parameter api-version is missing."
    )
    static let noSuchRoute = HTTPFailure(.notFound, "GenericNotFound", 404_000, "There is no such resource.")
    static let noSuchMethod = HTTPFailure(
        .methodNotAllowed,
        "GenericMethodNotAllowed",
        405_000,
        "The resource does not know this method."
    )
    static let encodedBody = HTTPFailure(
        .unsupportedMediaType,
        "GenericUnsupportedMediaType",
        415_000,
        "Send the body without a Content-Encoding."
    )
    static let malformedBody: HTTPFailure = {
        var failure = HTTPFailure(
            .badRequest,
            "GenericBadRequest",
            400_000,
            "The body is not framed as HTTP/1.1 frames bodies."
        )
        failure.closes = true
        return failure
    }()
    static func tooLarge(_ bytesMax: Int) -> HTTPFailure {
        var failure = HTTPFailure(
            .contentTooLarge,
            "GenericRequestEntityTooLarge",
            413_000,
            "The body is larger than \(bytesMax) bytes."
        )
        failure.closes = true
        return failure
    }
    static let invalidPolicyKey = HTTPFailure(
        .badRequest,
        "InvalidPolicyKey",
        400_035,
        "policyKey is 'primaryKey', 'secondaryKey' or 'both'."
    )
    static let clientGone = HTTPFailure(
        HTTPResponse.Status(code: 499, reasonPhrase: "Client Closed Request"),
        "ClientClosedRequest",
        499_000,
        "The client did not wait for the answer."
    )
    static func notYet(_ what: String) -> HTTPFailure {
        HTTPFailure(.notImplemented, "FeatureNotSupported", 404_013, "This hub does not offer \(what) yet.")
    }
}

/// Says the hub's errors in HTTP.
enum ErrorMapping {
    /// The failure that an error of any layer is to the client.
    static func failure(_ error: any Error) -> HTTPFailure {
        switch error {
        case let failure as HTTPFailure: failure
        case let error as HubError: self.failure(error)
        case is CancellationError: .clientGone
        default: HTTPFailure(.internalServerError, "ServerError", 500_001, "The hub failed; its log says why.")
        }
    }

    /// The failure that an error of the hub is to the client.
    static func failure(_ error: HubError) -> HTTPFailure {
        let (status, name, number) = self.code(error.code)
        return HTTPFailure(status, name, number, error.message)
    }

    /// Status, name and number of a code.
    static func code(_ code: HubErrorCode) -> (status: HTTPResponse.Status, name: String, number: Int) {
        switch code {
        case .argumentInvalid: (.badRequest, "ArgumentInvalid", 400_004)
        case .formatError: (.badRequest, "IotHubFormatError", 400_006)
        case .deviceDefinedMultipleTimes: (.badRequest, "DeviceDefinedMultipleTimes", 400_011)
        case .invalidDeviceScope: (.badRequest, "InvalidDeviceScope", 400_028)
        case .unauthorized, .forbidden: (.unauthorized, "IotHubUnauthorizedAccess", 401_002)
        case .systemModule: (.unauthorized, "SystemModuleModifyUnauthorizedAccess", 401_100)
        case .certificateNotFound: (.notFound, "CertificateNotFound", 404_008)
        case .deviceNotFound: (.notFound, "DeviceNotFound", 404_001)
        case .moduleNotFound: (.notFound, "ModuleNotFound", 404_010)
        case .invalidMessageExpiryTime: (.forbidden, "InvalidMessageExpiryTime", 403_009)
        case .deviceMaximumQueueDepthExceeded: (.forbidden, "DeviceMaximumQueueDepthExceeded", 403_004)
        case .deviceMaximumInflightMethodExceeded: (.forbidden, "DeviceMaximumInflightMethodExceeded", 403_800)
        case .deviceNotOnline: (.notFound, "DeviceNotOnline", 404_103)
        case .deviceConnectionClosedRemotely: (.notFound, "DeviceConnectionClosedRemotely", 404_104)
        case .messageLockLost: (.preconditionFailed, "DeviceMessageLockLost", 412_002)
        case .invalidResponseWhileProxying: (.badGateway, "InvalidResponseWhileProxying", 502_000)
        case .gatewayTimeout: (.gatewayTimeout, "GatewayTimeout", 504_101)
        case .deviceAlreadyExists: (.conflict, "DeviceAlreadyExists", 409_001)
        case .moduleAlreadyExists: (.conflict, "ModuleAlreadyExistsOnDevice", 409_301)
        case .preconditionFailed: (.preconditionFailed, "PreconditionFailed", 412_001)
        case .messageTooLarge: (.contentTooLarge, "MessageTooLarge", 413_001)
        case .quotaExceeded: (.contentTooLarge, "TooManyDevices", 413_002)
        case .tooManyModules: (.contentTooLarge, "TooManyModulesOnDevice", 413_003)
        case .throttled: (.tooManyRequests, "ThrottlingException", 429_001)
        case .storageCorrupt, .internalError: (.internalServerError, "ServerError", 500_001)
        case .serviceUnavailable, .storageFull: (.serviceUnavailable, "ServiceUnavailable", 503_001)
        case .notSupported: (.notImplemented, "FeatureNotSupported", 404_013)
        }
    }

    /// The answer to a request that failed.
    static func response(_ failure: HTTPFailure, form: HTTPFailure.Form, nowMilliseconds: Int64) -> Response {
        let tracking = self.trackingID()
        var body = JSONWriter()
        body.beginObject()
        switch form {
        case .named:
            let time = DocumentTime.american(nowMilliseconds)
            body.member("Message", "ErrorCode:\(failure.name);\(failure.message)")
            body.member("ExceptionMessage", "Tracking ID:\(tracking)-G:0-TimeStamp:\(time)")
        case .numbered:
            let time = DocumentTime.iso(nowMilliseconds)
            var inner = JSONWriter()
            inner.beginObject()
            inner.member("errorCode", failure.number)
            inner.member("message", failure.message)
            inner.member("trackingId", "\(tracking)-G2:-TimeStamp:\(time)")
            inner.member("timestampUtc", time)
            inner.name("info")
            inner.null()
            inner.endObject()
            body.member("Message", String(buffer: inner.buffer))
            // Anything here breaks the Java SDK's reading of the number.
            body.member("ExceptionMessage", "")
        }
        body.endObject()
        var response = Response.json(body, status: failure.status)
        response.headers[.iotHubErrorCode] = failure.name
        if failure.closes { response.headers[.connection] = "close" }
        return response
    }

    private static func trackingID() -> String {
        let hex = [UInt64.random(in: .min ... .max), .random(in: .min ... .max)].map { number in
            let digits = String(number, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }
        return hex.joined()
    }
}

extension HTTPField.Name {
    /// Names the code of a failure.
    static let iotHubErrorCode = HTTPField.Name("iothub-errorcode") ?? .eTag
    /// The same for bulk calls, where the .NET SDK looks for it without the hyphen.
    static let bulkErrorCode = HTTPField.Name("IotHubErrorCode") ?? .eTag
    /// Which method a POST stands for, where the client can't send it.
    static let methodOverride = HTTPField.Name("X-HTTP-Method-Override") ?? .eTag
}

extension Response {
    /// An answer with a JSON body.
    static func json(_ writer: JSONWriter, status: HTTPResponse.Status = .ok) -> Response {
        Response(
            status: status,
            headers: [.contentType: "application/json; charset=utf-8"],
            body: ResponseBody(byteBuffer: writer.buffer)
        )
    }
}
