// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import Hub
import HubModel
import HubTransport
import HummingbirdCore
import JSON
import Logging
import NIOCore
import NIOHTTP1

/// Answers the requests of the service API: who asks, what for, may he, do it, say it.
struct ServiceResponder: Sendable {
    let hub: Hub
    let registry: Registry
    let limits: HTTPFrontLimits
    let logger: Logger

    /// Answers a request of a connection; every failure is an answer too.
    func respond(to request: Request, on channel: any Channel) async -> Response {
        var form = HTTPFailure.Form.named
        do {
            let target = request.head.path ?? "/"
            let path = target.prefix { $0 != "?" }
            let route = try ServiceRoute(path: path)
            form = route.errorForm
            let principal = try self.authenticate(request)
            channel.triggerUserOutboundEvent(ConnectionAuthenticated(), promise: nil)
            if request.headers[.expect] != nil { channel.triggerUserOutboundEvent(BodyWanted(), promise: nil) }
            let query = ServiceQuery(target.dropFirst(path.count + 1))
            guard query.apiVersion != nil || route == .unknown else { throw HTTPFailure.missingVersion }
            return try await self.serve(route, request, query, principal)
        } catch {
            let failure = ErrorMapping.failure(error)
            if failure.status.kind == .serverError {
                self.logger.error("A request failed.", metadata: ["error": "\(error)", "code": "\(failure.name)"])
            }
            return ErrorMapping.response(failure, form: form, nowMilliseconds: self.hub.clock.milliseconds)
        }
    }

    private func authenticate(_ request: Request) throws -> ServicePrincipal {
        let text = request.headers[.authorization] ?? ""
        guard text.contains(where: { $0 != " " }) else {
            self.hub.metrics.refused("http: no credential")
            throw HubError(.unauthorized, "Unauthorized")
        }
        do {
            let now = self.hub.clock.seconds
            let principal = try self.hub.services.authenticate(token: text, dialect: .hub, nowSeconds: now)
            // Each request signs in by itself.
            self.hub.metrics.http.signedIn.add()
            return principal
        } catch {
            self.hub.metrics.refused("http: bad credential")
            throw error
        }
    }

    private func serve(
        _ route: ServiceRoute,
        _ request: Request,
        _ query: ServiceQuery,
        _ principal: ServicePrincipal
    ) async throws -> Response {
        switch (route, self.method(request)) {
        case (.device(let id), .get):
            try self.allow(principal, .registryRead, "devices/\(id)")
            return try await self.identity(IdentityID(device: id))
        case (.device(let id), .put):
            try self.allow(principal, .registryWrite, "devices/\(id)")
            return try await self.putIdentity(IdentityID(device: id), request)
        case (.device(let id), .delete):
            try self.allow(principal, .registryWrite, "devices/\(id)")
            return try await self.deleteIdentity(IdentityID(device: id), request)
        case (.devices, .get):
            try self.allow(principal, .registryRead, "devices")
            return try await self.listDevices(query)
        case (.devices, .post):
            try self.allow(principal, .registryWrite, "devices")
            return try await self.bulk(request)
        case (.modules(let device), .get):
            try self.allow(principal, .registryRead, "devices/\(device)/modules")
            return try await self.listModules(device)
        case (.module(let id), .get):
            try self.allow(principal, .registryRead, Self.path(of: id))
            return try await self.identity(id)
        case (.module(let id), .put):
            try self.allow(principal, .registryWrite, Self.path(of: id))
            return try await self.putIdentity(id, request)
        case (.module(let id), .delete):
            try self.allow(principal, .registryWrite, Self.path(of: id))
            return try await self.deleteIdentity(id, request)
        case (.deviceStatistics, .get):
            try self.allow(principal, .registryRead, "statistics/devices")
            return try await self.deviceStatistics()
        case (.serviceStatistics, .get):
            try self.allow(principal, .registryRead, "statistics/service")
            return self.serviceStatistics()
        case (.twin(let id), .get):
            try self.allow(principal, .serviceConnect, Self.twinPath(id))
            return try await self.twin(id)
        case (.twin(let id), .patch), (.twin(let id), .put):
            try self.allow(principal, .serviceConnect, Self.twinPath(id))
            return try await self.writeTwin(id, request, replaces: self.method(request) == .put)
        case (.methods(let id), .post):
            try self.allow(principal, .serviceConnect, Self.twinPath(id))
            return try await self.invokeMethod(id, request)
        case (.commands(let device), .delete):
            try self.allow(principal, .serviceConnect, "devices/\(device)/commands")
            return try await self.purgeCommands(device)
        case (.keys, .post):
            try self.allow(principal, .registryWrite, "devices")
            return try await self.regenerateKeys(request)
        case (.certificates(let name, let action), let method):
            try self.allow(principal, [.registryWrite, .serviceConnect, .deviceConnect], "certificates")
            return try await self.certificates(name, action, method, request)
        case (.device("query"), .post): throw HTTPFailure.notYet("queries")
        case (.later(let what, _), _): throw HTTPFailure.notYet(what)
        case (.unknown, _): throw HTTPFailure.noSuchRoute
        default: throw HTTPFailure.noSuchMethod
        }
    }

    /// The method that is meant: a client that can't send PATCH says so in a header.
    private func method(_ request: Request) -> HTTPRequest.Method {
        guard request.method == .post, let override = request.headers[.methodOverride] else { return request.method }
        return HTTPRequest.Method(override.uppercased()) ?? request.method
    }

    /// Refuses what the policy or the narrowness of the token does not allow; 401 and not 403, as the original does.
    private func allow(_ principal: ServicePrincipal, _ rights: AccessRights, _ path: String) throws(HubError) {
        guard principal.has(rights), principal.covers(path: path) else {
            throw HubError(.forbidden, "Unauthorized")
        }
    }

    /// Reads a JSON body within a limit.
    func body(of request: Request, bytesMax: Int) async throws -> JSONValue {
        let buffer = try await self.bytes(of: request, bytesMax: bytesMax)
        do {
            return try JSONDocument(parsing: buffer, limits: JSONLimits(bytesMax: bytesMax)).root
        } catch {
            throw HubError(.formatError, "The body is not JSON: \(error).")
        }
    }

    /// Reads a body within a limit.
    func bytes(of request: Request, bytesMax: Int) async throws -> ByteBuffer {
        if let encoding = request.headers[.contentEncoding], encoding.lowercased() != "identity" {
            throw HTTPFailure.encodedBody
        }
        if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > bytesMax {
            throw HTTPFailure.tooLarge(bytesMax)
        }
        do {
            return try await request.body.collect(upTo: bytesMax)
        } catch is NIOTooManyBytesError {
            throw HTTPFailure.tooLarge(bytesMax)
        } catch let error as HTTPParserError where error != .invalidEOFState {
            throw HTTPFailure.malformedBody
        } catch {
            // The connection ended, by the client or for being too slow: nobody reads this answer.
            throw HTTPFailure.clientGone
        }
    }
}

/// The query of a request, read as far as routes need it.
struct ServiceQuery {
    /// The version that the client speaks; any is accepted.
    let apiVersion: String?
    /// How many items it wants, as text.
    let top: String?

    /// Reads `name=value` pairs in any order.
    init(_ text: Substring) {
        var values: [String: String] = [:]
        for part in text.split(separator: "&") {
            let sides = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard sides.count == 2, let value = PercentEncoding.decode(sides[1]) else { continue }
            values[sides[0].lowercased()] = value
        }
        self.apiVersion = values["api-version"]
        self.top = values["top"]
    }
}
