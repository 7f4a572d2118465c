// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Hub
import HubModel
import HubTransport
import SwiftASN1

/// `roost ca verify`: what a hub would say.
struct VerifyCertificateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Judge a device's certificate by the rules of the hub, without one.",
        discussion: "Exits with 0 when a hub with this authority would let the device in, with 1 and the reason if not."
    )

    @Argument(help: .init("The device's certificate with its chain, PEM.", valueName: "file"))
    var file: String

    @Option(name: .long, help: .init("The certificate of the registered authority, PEM.", valueName: "file"))
    var ca: String

    @Option(name: .long, help: .init("The id of the device, or DEVICE/MODULE.", valueName: "id"))
    var device: String

    func run() async throws {
        try await reportingErrors {
            let ids = self.device.split(separator: "/", maxSplits: 1).map(String.init)
            guard let first = ids.first else { throw AuthorityProblem.badID }
            let id = IdentityID(device: first, module: ids.count > 1 ? ids[1] : nil)
            let identity = RegisteredIdentity(id: id, generationID: "", etag: "", authentication: .certificateAuthority)
            let outcome = DeviceCertificateDecision(id: id, identity: identity, device: identity).decide(
                try Self.certificates(self.file),
                authorities: AuthorityTable(trusting: try Self.certificates(self.ca)),
                limits: CertificateLimits(),
                clockSkewSeconds: Limits().clockSkewSeconds,
                nowSeconds: HubClock.system.seconds
            )
            if case .failure(let refusal) = outcome { throw AuthorityProblem.refused(refusal.rawValue) }
            say("good")
        }
    }

    /// The certificates of a PEM file, each in DER form.
    static func certificates(_ file: String) throws -> [[UInt8]] {
        let documents = try PEMDocument.parseMultiple(pemString: AuthorityFiles.text(file))
        let certificates = documents.filter { $0.discriminator == "CERTIFICATE" }.map(\.derBytes)
        guard !certificates.isEmpty else { throw AuthorityProblem.noCertificate(file) }
        return certificates
    }
}
