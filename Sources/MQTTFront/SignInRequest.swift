// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel
import Hub
import MQTT
import NIOCore

/// What a CONNECT asks of the hub, in the hub's terms.
struct SignInRequest {
    /// Why a CONNECT is refused before any credential is looked at.
    enum Refusal: Error, Equatable {
        /// The client id is empty or not that of a device or a module.
        case clientIDIllegal
        /// There is no user name, or not one of the forms that clients send.
        case usernameMalformed
        /// The user name is for another hub.
        case hostUnknown
        /// The user name is for another identity than the client id.
        case identityMismatch
        /// The password is not text.
        case passwordMalformed
    }

    /// Who wants to sign in.
    let id: IdentityID
    /// Its token; nil where there is none, as for certificates.
    let token: String?
    /// The plug-and-play model that it announces.
    let modelID: String?

    /// Reads a CONNECT.
    ///
    /// - Throws: the first rule that it breaks, in the order of docs/wire/security.md#connect.
    init(_ connect: borrowing Connect, names: HubNames) throws(Refusal) {
        let clientID = connect.clientID
        let ids = clientID.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard ids.allSatisfy(IdentityID.isLegal) else { throw .clientIDIllegal }
        id = IdentityID(device: String(ids[0]), module: ids.count > 1 ? String(ids[1]) : nil)

        guard let username = connect.username, let slash = username.utf8.firstIndex(of: UInt8(ascii: "/")) else {
            throw .usernameMalformed
        }
        guard names.contains(host: username[..<slash]) else { throw .hostUnknown }
        let rest = username[username.index(after: slash)...]
        // Bytes, not characters: Swift's `hasPrefix` takes canonically equivalent text for equal.
        guard rest.utf8.starts(with: clientID.utf8) else { throw .identityMismatch }
        let tail = rest.utf8.dropFirst(clientID.utf8.count)
        guard tail.isEmpty || tail.first == UInt8(ascii: "/") else { throw .identityMismatch }
        let parameters = rest[tail.startIndex...].dropFirst()
        // Behind a device's id comes `?...`, `name=value...`, or nothing; anything else is a module's id.
        guard parameters.isEmpty || parameters.first == "?" || parameters.utf8.contains(UInt8(ascii: "=")) else {
            throw .identityMismatch
        }
        modelID = try Self.modelID(in: parameters)

        guard let password = connect.password, password.readableBytes > 0 else {
            token = nil
            return
        }
        guard let text = String(validating: password.readableBytesView, as: UTF8.self) else { throw .passwordMalformed }
        token = text
    }

    /// Finds the model id among the parameters.
    ///
    /// Parameters come in any order, with `?` before them or not, and divided by `&`, or by `/` as 2017 previews did. Of
    /// two of the same name the first one counts.
    ///
    /// - Throws: `identityMismatch` where the text begins with a module's id instead.
    private static func modelID(in text: Substring) throws(Refusal) -> String? {
        var text = text
        if text.first == "?" {
            text.removeFirst()
        } else if let slash = text.firstIndex(of: "/"), !text[..<slash].contains("=") {
            throw .identityMismatch
        }
        let name = "model-id="
        let parameter = text.split(whereSeparator: { $0 == "&" || $0 == "/" }).first { $0.hasPrefix(name) }
        return parameter.flatMap { PercentEncoding.decode($0.dropFirst(name.count)) }.flatMap { $0.isEmpty ? nil : $0 }
    }
}
