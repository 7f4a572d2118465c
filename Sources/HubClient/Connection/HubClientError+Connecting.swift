// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AsyncHTTPClient
import Glibc
import NIOCore
import NIOPosix
import NIOSSL

extension HubClientError {
    /// What the failure of a connection is to a user.
    static func connecting(_ error: any Error, host: String, port: Int) -> HubClientError {
        switch error {
        case let error as HubClientError:
            error
        case let error as HTTPClientError where error == .tlsHandshakeTimeout:
            .tlsFailed(host: host, port: port, reason: "the handshake took too long; does this port speak TLS?")
        case let error as HTTPClientError where error == .connectTimeout:
            .unreachable(host: host, port: port, reason: "no answer")
        case let error as HTTPClientError where error == .deadlineExceeded || error == .readTimeout:
            .timedOut(waitingFor: "an answer to a request")
        case let error as HTTPClientError where error == .remoteConnectionClosed:
            .closed(during: "a request")
        case NIOSSLError.handshakeFailed(let error):
            .tlsFailed(host: host, port: port, reason: error.reason)
        case let error as NIOSSLError:
            .tlsFailed(host: host, port: port, reason: String(describing: error))
        case let error as NIOSSLExtraError:
            .tlsFailed(host: host, port: port, reason: error.description)
        case let error as BoringSSLError:
            .tlsFailed(host: host, port: port, reason: error.reason)
        case let error as NIOConnectionError:
            .unreachable(host: host, port: port, reason: error.reason)
        case let error as IOError:
            .unreachable(host: host, port: port, reason: String(cString: strerror(error.errnoCode)))
        default:
            .unreachable(host: host, port: port, reason: String(describing: error))
        }
    }
}

extension NIOConnectionError {
    /// The first failure, in the system's words.
    fileprivate var reason: String {
        if let error = self.connectionErrors.first?.error as? IOError {
            return String(cString: strerror(error.errnoCode))
        }
        return self.dnsAError == nil && self.dnsAAAAError == nil ? "no answer" : "the name is not known"
    }
}

extension BoringSSLError {
    /// What went wrong, in words where the usual cause is known.
    ///
    /// The library tells a name, with numbers and source lines around it that say nothing to a user.
    fileprivate var reason: String {
        let text = String(describing: self)
        let mark = "OPENSSL_internal:"
        guard let start = text.firstRange(of: mark)?.upperBound else {
            return text.contains("EOF during handshake")
                ? "the peer closed the connection; does this port speak TLS?" : text
        }
        let name = text[start...].prefix { $0 == "_" || $0.isLetter || $0.isNumber }
        return switch name {
        case "CERTIFICATE_VERIFY_FAILED": "the certificate is not trusted"
        case "WRONG_VERSION_NUMBER": "the peer does not speak TLS"
        default: name.split(separator: "_").joined(separator: " ").lowercased()
        }
    }
}
