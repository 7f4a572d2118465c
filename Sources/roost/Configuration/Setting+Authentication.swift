// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Hub
import HubModel
import HubTransport

extension Setting {
    /// Who may sign in, and with what.
    static let authentication: [Setting] = [
        .boolean(
            "disableLocalAuth",
            \.authentication.disableLocalAuth,
            "Whether tokens signed with a shared access policy's key are refused."
        ),
        .boolean(
            "disableDeviceSAS",
            \.authentication.disableDeviceSAS,
            "Whether tokens signed with a device's own key are refused."
        ),
        .boolean(
            "disableModuleSAS",
            \.authentication.disableModuleSAS,
            "Whether tokens signed with a module's own key are refused."
        ),
        .boolean(
            "acceptsHubDialectOnEventHubs",
            \.authentication.acceptsHubDialectOnEventHubs,
            "Whether readers of the built-in endpoint may sign tokens by the hub's rule as well as by that of Event Hubs."
        ),
        .number(
            "limits.tokenLifetimeSeconds",
            \.authentication.tokenLifetime,
            0...3_153_600_000,
            "How far in the future a token may expire; 0 is any time."
        ),
        .number(
            "limits.certificateChain",
            \.limits.certificates.chainLengthMax,
            2...10,
            "Certificates from a device's own to the registered authority's, both included."
        ),
        .number(
            "limits.certificateBytes",
            \.limits.certificates.certificateBytesMax,
            1_024...65_536,
            "The largest certificate of a device or an authority."
        ),
        .number(
            "limits.certificateSignatureChecks",
            \.limits.certificates.signatureChecksMax,
            1...1_000,
            "Signatures checked for one sign-in with a certificate."
        ),
        .number(
            "limits.certificateAuthorities",
            \.limits.certificates.authoritiesMax,
            1...1_000,
            "Certificate authorities that can be registered."
        ),
        .number(
            "limits.rememberedChains",
            \.transport.rememberedChainsMax,
            1...1_000_000,
            "Issuers of certificates whose chains are remembered for clients that resume a TLS session."
        ),
        .number(
            "limits.clientChainCertificates",
            \.transport.clientChainCertificatesMax,
            1...100,
            "Certificates in the chain that a client presents."
        ),
        .number(
            "limits.clientChainBytes",
            \.transport.clientChainBytesMax,
            4_096...1_048_576,
            "Bytes of the chain that a client presents."
        ),
        .boolean(
            "faultInjection.enabled",
            \.limits.faults.isEnabled,
            "Whether a device may ask for faults of its own connection, to test how it recovers. Never on a hub that somebody relies on."
        ),
        .number(
            "faultInjection.secondsMax",
            \.limits.faults.secondsMax,
            1...86_400,
            "The longest delay and duration of such a fault."
        ),
        .number(
            "faultInjection.identitiesMax",
            \.limits.faults.identitiesMax,
            1...10_000_000,
            "Identities that may be in a fault at once."
        ),
        .boolean(
            "allowSampleKeys",
            \.authentication.allowsSampleKeys,
            "Whether keys that stand in public documentation are taken. For tests only: everybody knows them."
        ),
    ]
}

extension AuthenticationSettings {
    /// `tokenLifetimeSecondsMax` with 0 for none.
    fileprivate var tokenLifetime: Int {
        get { Int(tokenLifetimeSecondsMax ?? 0) }
        set { tokenLifetimeSecondsMax = newValue == 0 ? nil : Int64(newValue) }
    }
}
