// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import HubClient

/// The options that say how a new device or module signs in.
struct SignInOptions: ParsableArguments {
    @Option(name: .long, help: .init("The first key, base64 of 16 to 64 bytes.", valueName: "base64"))
    var primaryKey: String?

    @Option(name: .long, help: .init("The second key, base64 of 16 to 64 bytes.", valueName: "base64"))
    var secondaryKey: String?

    @Option(
        name: .customLong("thumbprint"),
        help: .init(
            "It signs in with the certificate of this SHA-1 or SHA-256 thumbprint; twice for a second certificate.",
            valueName: "hex"
        )
    )
    var thumbprints: [String] = []

    @Flag(name: .customLong("authority"), help: "It signs in with certificates of a registered authority.")
    var isByAuthority = false

    func validate() throws {
        guard self.secondaryKey == nil || self.primaryKey != nil else {
            throw ValidationError("Give --primary-key too.")
        }
        guard self.thumbprints.count <= 2 else { throw ValidationError("--thumbprint is given once or twice.") }
        let ways = [self.primaryKey != nil, !self.thumbprints.isEmpty, self.isByAuthority].count { $0 }
        guard ways <= 1 else { throw ValidationError("Give keys, --thumbprint or --authority.") }
    }

    /// What the options say; keys that nobody gave are made by the hub.
    var authentication: DeviceIdentity.Authentication {
        if self.isByAuthority { return .byAuthority }
        if let first = self.thumbprints.first {
            return .thumbprints(primary: first, secondary: self.thumbprints.dropFirst().first)
        }
        return Self.keys(primary: self.primaryKey, secondary: self.secondaryKey)
    }

    /// Sign-in by keys: the API wants both or none; one that is given alone serves as both.
    static func keys(primary: String?, secondary: String?) -> DeviceIdentity.Authentication {
        .keys(primary: primary, secondary: secondary ?? primary)
    }
}
