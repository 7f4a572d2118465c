// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Crypto
public import FoundationEssentials

/// SAS tokens whose parts are exactly those that a test gives, right or wrong.
public enum TestToken {
    /// Makes a token of the hub's dialect.
    ///
    /// - Parameters:
    ///   - resource: signed and sent as it is.
    ///   - key: the key as base64 text.
    ///   - expiry: seconds since 1970.
    ///   - policy: the name of a policy, or nil for a device's own key.
    /// - Returns: the whole text.
    public static func make(_ resource: String, key: String, expiry: Int64, policy: String? = nil) -> String {
        self.make(resource, secret: Data(base64Encoded: key) ?? Data(), expiry: expiry, policy: policy)
    }

    /// Makes a token with the bytes of a key, for the dialect in which they are the key's text.
    public static func make(_ resource: String, secret: some ContiguousBytes, expiry: Int64, policy: String?) -> String
    {
        let code = HMAC<SHA256>.authenticationCode(
            for: Data("\(resource)\n\(expiry)".utf8),
            using: SymmetricKey(data: secret)
        )
        let signature = Data(code).base64EncodedString()
            .replacing("+", with: "%2B").replacing("/", with: "%2F").replacing("=", with: "%3D")
        let name = policy.map { "&skn=\($0)" } ?? ""
        return "SharedAccessSignature sr=\(resource)&sig=\(signature)&se=\(expiry)\(name)"
    }
}
