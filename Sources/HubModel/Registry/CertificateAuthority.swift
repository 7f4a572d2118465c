// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// A certificate authority that somebody registered (docs/wire/security.md#authorities).
///
/// Its devices may sign in once it is verified: once whoever registered it has shown that he holds its key.
public struct CertificateAuthority: Sendable, Hashable {
    /// What it is called.
    public var name: String
    /// Changes with every change of it; the text within the quotes of an ETag.
    public var etag: String
    /// Its certificate in DER form.
    public var certificate: [UInt8]
    /// Whether its devices may sign in.
    public var isVerified: Bool
    /// The common name that a certificate signed with its key must have to prove it; nil where none was asked for.
    public var verificationCode: String?
    /// When it was registered, in milliseconds since 1970 UTC.
    public var createdMilliseconds: Int64
    /// When it last changed, in milliseconds since 1970 UTC.
    public var updatedMilliseconds: Int64

    /// Makes a registered authority.
    public init(
        name: String,
        etag: String,
        certificate: [UInt8],
        isVerified: Bool,
        verificationCode: String? = nil,
        createdMilliseconds: Int64,
        updatedMilliseconds: Int64
    ) {
        self.name = name
        self.etag = etag
        self.certificate = certificate
        self.isVerified = isVerified
        self.verificationCode = verificationCode
        self.createdMilliseconds = createdMilliseconds
        self.updatedMilliseconds = updatedMilliseconds
    }

    /// Whether a text may be the name of one: 1 to 64 letters, digits, `-`, `.` and `_`.
    public static func isLegalName(_ text: String) -> Bool {
        (1...64).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                (byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7A) || (byte >= 0x30 && byte <= 0x39)
                    || [0x2D, 0x2E, 0x5F].contains(byte)
            }
    }
}
