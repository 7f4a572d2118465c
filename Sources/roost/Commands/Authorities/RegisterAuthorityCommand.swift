// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import FoundationEssentials
import HubClient
import HubTransport

/// `roost ca register`: an authority becomes one whose devices may sign in.
struct RegisterAuthorityCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "register",
        abstract: "Register an authority with a hub.",
        discussion: """
            Its devices may sign in once it is verified. With --key this proves at once that you hold its key; without, \
            'roost ca code' gives the code that a certificate of proof must be made out to, and 'roost ca prove' hands \
            that in. --trust does without a proof, and the hub's log says so.
            """
    )

    @Argument(help: .init("What to call it.", valueName: "name"))
    var name: String

    @Option(name: .long, help: .init("Its certificate, PEM; that of a root or of one below.", valueName: "file"))
    var certificate: String

    @Option(name: .long, help: .init("Its private key, PEM; stays on this machine.", valueName: "file"))
    var key: String?

    @Flag(name: .long, help: "Take it as verified without a proof.")
    var trust = false

    @OptionGroup var hub: HubOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if self.trust, self.key != nil { throw ValidationError("Give either --key or --trust.") }
    }

    func run() async throws {
        try await reportingErrors {
            let target = try self.hub.resolve()
            let text = try AuthorityFiles.text(self.certificate)
            let issuer = try self.issuer(certificate: text)
            let answer = try await target.withService { service in
                let registered = try await service.register(
                    self.name,
                    certificate: text,
                    isVerified: self.trust ? true : nil
                )
                guard let issuer else { return registered }
                let code = try await service.makeVerificationCode(self.name).value.properties.verificationCode
                let plan = CertificateIssuer.Plan(commonName: code ?? "", kind: .p256, days: 1, now: Date())
                return try await service.verify(self.name, proof: try issuer.issueLeaf(plan).certificatePEM)
            }
            show(answer, json: self.output.json)
        }
    }

    private func issuer(certificate: String) throws -> CertificateIssuer? {
        guard let key else { return nil }
        try SecretFile.checkPrivate(key)
        return try CertificateIssuer(certificatePEM: certificate, privateKeyPEM: AuthorityFiles.text(key))
    }
}

/// `roost ca code`.
struct AuthorityCodeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "code",
        abstract: "Ask for the code that the proof of an authority's key is to be made out to."
    )

    @Argument(help: .init("What it is called.", valueName: "name"))
    var name: String

    @OptionGroup var hub: HubOptions

    func run() async throws {
        try await reportingErrors {
            let answer = try await self.hub.resolve().withService { try await $0.makeVerificationCode(self.name) }
            say(answer.value.properties.verificationCode ?? "")
        }
    }
}

/// `roost ca prove`.
struct ProveAuthorityCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prove",
        abstract: "Hand in the proof that you hold an authority's key.",
        discussion: "It is a certificate whose common name is the code of 'roost ca code', signed with that key."
    )

    @Argument(help: .init("What the authority is called.", valueName: "name"))
    var name: String

    @Option(name: .long, help: .init("The certificate of proof, PEM.", valueName: "file"))
    var proof: String

    @OptionGroup var hub: HubOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await reportingErrors {
            let text = try AuthorityFiles.text(self.proof)
            let answer = try await self.hub.resolve().withService { try await $0.verify(self.name, proof: text) }
            show(answer, json: self.output.json)
        }
    }
}

/// `roost ca list`.
struct ListAuthoritiesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List a hub's authorities.")

    @OptionGroup var hub: HubOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await reportingErrors {
            let answer = try await self.hub.resolve().withService { try await $0.authorities() }
            guard !self.output.json else { return say(answer.text) }
            var table = Table("NAME", "VERIFIED", "SUBJECT", "EXPIRES", "THUMBPRINT")
            for authority in answer.value {
                let properties = authority.properties
                table.add(
                    authority.name ?? "",
                    properties.isVerified == true ? "yes" : "no",
                    properties.subject ?? "",
                    properties.expiry ?? "",
                    properties.thumbprint ?? ""
                )
            }
            say(table.render(), terminator: "")
        }
    }
}

/// `roost ca remove`.
struct RemoveAuthorityCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove",
        abstract: "Take an authority off a hub; the connections of its devices end at once."
    )

    @Argument(help: .init("What it is called.", valueName: "name"))
    var name: String

    @OptionGroup var hub: HubOptions

    func run() async throws {
        try await reportingErrors {
            try await self.hub.resolve().withService { try await $0.removeAuthority(self.name) }
        }
    }
}

/// Prints one authority.
private func show(_ answer: ServiceClient.Answer<RegisteredAuthority>, json: Bool) {
    guard !json else { return say(answer.text) }
    let name = answer.value.name ?? ""
    say("\(name): \(answer.value.properties.isVerified == true ? "verified" : "registered, not verified")")
}
