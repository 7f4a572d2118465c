// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Crypto
import FoundationEssentials
import HubModel

/// The keys of an identity or a policy, ready to check signatures.
///
/// A check costs two HMACs whatever the keys are and whichever fits, so that its time tells nothing.
struct SigningKeys: Sendable {
    private let primary: SymmetricKey?
    private let secondary: SymmetricKey?

    /// Stands in for a key that is not there; nobody knows it.
    private static let dummy = SymmetricKey(size: .bits256)

    /// Keys for an identity or a policy that does not exist: no signature fits.
    static let unknown = SigningKeys(primary: nil, secondary: nil)

    private init(primary: SymmetricKey?, secondary: SymmetricKey?) {
        self.primary = primary
        self.secondary = secondary
    }

    /// Takes the keys of a pair by the rule of a dialect; what is no key never fits.
    init(_ pair: CredentialPair, dialect: TokenDialect, allowsSampleKeys: Bool) {
        func key(_ text: String?) -> SymmetricKey? {
            guard let text, allowsSampleKeys || !SampleKeys.contains(text) else { return nil }
            switch dialect {
            case .hub: return Base64.decode(text).map { SymmetricKey(data: $0) }
            case .eventHubs: return text.isEmpty ? nil : SymmetricKey(data: Data(text.utf8))
            }
        }
        self.init(primary: key(pair.primary), secondary: key(pair.secondary))
    }

    /// Which key made the signature of a token, nil if none did.
    func slot(of token: SharedAccessSignature) -> KeySlot? {
        let text = Data(token.signedText.utf8)
        let isPrimary = Self.fits(token, text, self.primary)
        let isSecondary = Self.fits(token, text, self.secondary)
        return isPrimary ? .primary : isSecondary ? .secondary : nil
    }

    private static func fits(_ token: SharedAccessSignature, _ text: Data, _ key: SymmetricKey?) -> Bool {
        // Constant-time by the library's promise.
        let fits = HMAC<SHA256>.isValidAuthenticationCode(
            token.signature,
            authenticating: text,
            using: key ?? self.dummy
        )
        return fits && key != nil
    }
}

/// Compares secrets without telling by time where they differ.
enum ConstantTime {
    /// Whether two texts are equal.
    static func equal(_ first: String, _ second: String) -> Bool {
        // Hashing makes the lengths alike; the key that nobody knows makes the hashes useless to whoever times this.
        let key = SymmetricKey(size: .bits256)
        let code = HMAC<SHA256>.authenticationCode(for: Data(first.utf8), using: key)
        return HMAC<SHA256>.isValidAuthenticationCode(code, authenticating: Data(second.utf8), using: key)
    }
}

/// Keys that stand in public documentation, which no hub may take as a secret.
enum SampleKeys {
    private static let keys: Set<String> = [
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=",
        "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8=",
        "YGFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6e3x9fn8=",
        "gIGCg4SFhoeIiYqLjI2Oj5CRkpOUlZaXmJmam5ydnp8=",
        "oKGio6SlpqeoqaqrrK2ur7CxsrO0tba3uLm6u7y9vr8=",
        "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==",
        "Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc=",
    ]

    /// Whether a key is one of them.
    static func contains(_ key: String) -> Bool { self.keys.contains(key) }
}
