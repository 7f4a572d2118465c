// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// What certificates of devices and their authorities may be (docs/wire/security.md#certificates).
public struct CertificateLimits: Sendable, Hashable {
    /// How many certificates a path has at most, the device's own and the registered authority's included.
    public var chainLengthMax = 5
    /// The largest certificate, in bytes of its DER form.
    public var certificateBytesMax = 16_384
    /// How many signatures are checked for one sign-in; what a client presents decides how many there could be.
    public var signatureChecksMax = 16
    /// How many authorities a hub may have registered.
    public var authoritiesMax = 25

    /// The defaults.
    public init() {}
}
