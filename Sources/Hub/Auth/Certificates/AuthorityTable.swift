// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Synchronization
import X509

/// An authority whose devices may sign in.
struct TrustedAuthority: Sendable {
    /// Tells it from all others: SHA-256 of its certificate, in small hexadecimal digits.
    let thumbprint: String
    let certificate: Certificate
}

/// The verified certificate authorities as they are now; read on every sign-in, replaced as a whole.
public final class AuthorityTable: Sendable {
    private struct State {
        var authorities: [TrustedAuthority] = []
        var reloadsBegun: UInt64 = 0
        var reloadInForce: UInt64 = 0
    }

    private let state = Mutex(State())

    /// Makes an empty table.
    public init() {}

    /// Makes a table of authorities that stay, each given by its certificate in DER form.
    public convenience init(trusting certificates: [[UInt8]]) {
        self.init()
        self.replace(with: certificates, reload: self.beginReload())
    }

    /// Begins a reload; call this before reading the store.
    func beginReload() -> UInt64 {
        self.state.withLock { state in
            state.reloadsBegun += 1
            return state.reloadsBegun
        }
    }

    /// Puts other authorities, each given by its certificate in DER form, in the place of those there are.
    ///
    /// What was read before what is in force already is old, and is left out.
    func replace(with certificates: [[UInt8]], reload: UInt64) {
        let authorities = certificates.compactMap { der in
            PresentedCertificate(der: der, bytesMax: .max).map {
                TrustedAuthority(thumbprint: PresentedCertificate.sha256(der), certificate: $0.certificate)
            }
        }
        self.state.withLock { state in
            guard reload > state.reloadInForce else { return }
            state.authorities = authorities
            state.reloadInForce = reload
        }
    }

    var authorities: [TrustedAuthority] { self.state.withLock { $0.authorities } }

    func contains(thumbprint: String) -> Bool {
        self.state.withLock { $0.authorities.contains { $0.thumbprint == thumbprint } }
    }
}
