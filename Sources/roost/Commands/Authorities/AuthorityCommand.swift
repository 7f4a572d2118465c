// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import FoundationEssentials
import HubClient
import HubTransport

/// `roost ca`: authorities whose certificates devices sign in with.
struct AuthorityCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ca",
        abstract: "Make certificates for devices, and register the authorities that issue them.",
        discussion: """
            create, issue and verify work on files alone. register, code, prove, list and remove talk to a hub.

            From nothing to a device that signs in:
              roost ca create fleet --out fleet-ca
              roost ca register fleet --certificate fleet-ca/ca.pem --key fleet-ca/ca.key
              roost ca issue device-1 --ca fleet-ca --out certificates
            and create the device with authentication of type certificateAuthority.
            """,
        subcommands: [
            CreateAuthorityCommand.self, IssueCertificateCommand.self, VerifyCertificateCommand.self,
            RegisterAuthorityCommand.self, AuthorityCodeCommand.self, ProveAuthorityCommand.self,
            ListAuthoritiesCommand.self, RemoveAuthorityCommand.self,
        ]
    )
}

/// How new certificates are made.
struct CertificateOptions: ParsableArguments {
    @Option(name: .long, help: .init("How many days the certificate is valid.", valueName: "days"))
    var days = 365

    @Option(
        name: .long,
        help: .init("The kind of key: p256, or rsa2048 for devices that know nothing else.", valueName: "kind"),
        transform: CertificateOptions.kind
    )
    var key = CertificateKeyKind.p256

    func validate() throws {
        guard (1...36_500).contains(self.days) else { throw ValidationError("--days is 1 to 36500.") }
    }

    private static func kind(_ text: String) throws -> CertificateKeyKind {
        guard let kind = CertificateKeyKind(rawValue: text) else {
            throw ValidationError("--key is p256 or rsa2048.")
        }
        return kind
    }

    func plan(_ name: String) -> CertificateIssuer.Plan {
        CertificateIssuer.Plan(commonName: name, kind: self.key, days: self.days, now: Date())
    }
}

/// `roost ca create`.
struct CreateAuthorityCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create",
        abstract: "Make a certificate authority: a root, or one below another.",
        discussion: """
            The directory gets ca.pem, ca.key (keep it safe: whoever has it can be any device) and, with --issuer, \
            chain.pem, which holds what devices present behind their own certificates.
            """
    )

    @Argument(help: .init("What the authority is called.", valueName: "name"))
    var name: String

    @Option(name: .long, help: .init("The directory to make.", valueName: "directory"))
    var out: String

    @Option(name: .long, help: .init("The directory of the authority above; none for a root.", valueName: "directory"))
    var issuer: String?

    @Option(name: .long, help: .init("How many authorities may stand below it in a chain.", valueName: "count"))
    var pathLength: Int?

    @OptionGroup var certificate: CertificateOptions

    func run() async throws {
        try await reportingErrors {
            let plan = self.certificate.plan(self.name)
            let issued: IssuedCertificate
            var chain = ""
            if let issuer {
                let above = try AuthorityFiles(issuer)
                issued = try above.issuer().issueAuthority(plan, pathLength: self.pathLength)
                chain = issued.certificatePEM + (try above.chain())
            } else {
                issued = try CertificateIssuer.makeRoot(plan, pathLength: self.pathLength)
            }
            try AuthorityFiles.make(self.out, issued, chain: chain)
            say("\(self.out)/ca.pem")
        }
    }
}

/// `roost ca issue`.
struct IssueCertificateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "issue",
        abstract: "Issue a device's certificate.",
        discussion: """
            The common name is the device's id, or DEVICE/MODULE. Writes DEVICE.pem, with the chain, and DEVICE.key, \
            and prints the thumbprints. Without --ca the certificate signs itself: register its thumbprint.
            """
    )

    @Argument(help: .init("The id of the device, or DEVICE/MODULE.", valueName: "id"))
    var id: String

    @Option(name: .long, help: .init("The directory of the authority, as 'roost ca create' made it."))
    var ca: String?

    @Option(name: .long, help: .init("Where to put the files.", valueName: "directory"))
    var out = "."

    @OptionGroup var certificate: CertificateOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await reportingErrors {
            let plan = self.certificate.plan(self.id)
            var chain = ""
            let issued: IssuedCertificate
            if let ca {
                let files = try AuthorityFiles(ca)
                issued = try files.issuer().issueLeaf(plan)
                chain = try files.chain()
            } else {
                issued = try CertificateIssuer.makeSelfSigned(plan)
            }
            let base = try DeviceFiles.base(self.id, in: self.out)
            // The key first: a certificate without its key is of no use, and tells so.
            try SecretFile.write(Array(issued.privateKeyPEM.utf8), to: base + ".key")
            try SecretFile.write(Array((issued.certificatePEM + chain).utf8), to: base + ".pem", mode: 0o644)
            try self.report(try issued.thumbprints(), base)
        }
    }

    private func report(_ thumbprints: (sha1: String, sha256: String), _ base: String) throws {
        guard self.output.json else {
            say("\(base).pem\nSHA-1   \(thumbprints.sha1)\nSHA-256 \(thumbprints.sha256)")
            return
        }
        let document = ["certificate": base + ".pem", "privateKey": base + ".key"]
            .merging(["sha1": thumbprints.sha1, "sha256": thumbprints.sha256]) { $1 }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.withoutEscapingSlashes, .sortedKeys]
        say(String(decoding: try encoder.encode(document), as: UTF8.self))
    }
}
