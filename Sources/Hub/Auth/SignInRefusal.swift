// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import HubModel

/// Why a credential is refused; for the log only, since any difference that a peer could see would tell it what exists.
public enum SignInRefusal: String, Error, Sendable, Hashable {
    /// The token can't be read.
    case malformedToken
    /// No key that could have signed fits.
    case wrongSignature
    /// The token or the certificate is not valid at this time, the tolerated clock skew granted.
    case expired
    /// The token expires later than the settings allow.
    case lifetimeTooLong
    /// The token is for something else.
    case wrongAudience
    /// The policy does not allow it.
    case missingRight
    /// There is no such identity.
    case unknownIdentity
    /// The identity, or the device of the module, is disabled.
    case disabledIdentity
    /// The identity is registered with another kind of credential.
    case wrongKind
    /// The settings refuse credentials of this kind.
    case kindDisabled
    /// The certificate can't be read.
    case malformedCertificate
    /// The certificate is not the registered one, or is made out to somebody else.
    case wrongCertificate
    /// The certificate leads to no verified authority by rules that hold.
    case untrustedCertificate
    /// No credential was offered.
    case nothingOffered

    /// The one error that peers see.
    public var error: HubError { HubError(.unauthorized, "Unauthorized") }
}

extension SharedAccessSignature {
    /// Why the time of the token is a reason to refuse it, or nil.
    func refusal(
        atSeconds now: Int64,
        _ settings: AuthenticationSettings,
        clockSkewSeconds: Int64
    ) -> SignInRefusal? {
        if self.isExpired(atSeconds: now, clockSkewSeconds: clockSkewSeconds) { return .expired }
        guard let longest = settings.tokenLifetimeSecondsMax else { return nil }
        return self.expiresAtSeconds - now > longest ? .lifetimeTooLong : nil
    }
}
