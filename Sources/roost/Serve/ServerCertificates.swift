// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import HubTransport
import Logging

/// The certificates that a configuration asks for, ready for listeners.
struct ServerCertificates: Sendable {
    let identity: TLSIdentity
    /// The local ones, nil where the user has given one.
    let local: LocalCertificates?
    /// What clients must trust, nil where they do anyway.
    let authorityFile: String?

    /// Makes what is missing in the data directory, or loads what the user has given.
    ///
    /// - Throws: what `LocalCertificates.ensure` and `TLSIdentity.init` throw.
    init(_ configuration: Configuration, dataDirectory: String, limits: TransportLimits, logger: Logger) throws {
        let tls = configuration.tls
        var settings: TLSSettings
        if tls.certificateFile.isEmpty {
            let certificates = LocalCertificates(
                directory: dataDirectory + "/tls",
                names: SubjectNames(configured: configuration.hostNames),
                kind: tls.keyAlgorithm
            )
            try certificates.ensure(now: Date(), logger: logger)
            local = certificates
            authorityFile = certificates.authorityFile
            settings = TLSSettings(certificate: certificates.serverFiles)
        } else {
            local = nil
            authorityFile = tls.authorityFile.isEmpty ? nil : tls.authorityFile
            settings = TLSSettings(
                certificate: CertificateFiles(chain: tls.certificateFile, privateKey: tls.privateKeyFile)
            )
        }
        settings.minimumVersion = tls.minimumVersion
        settings.allowsCBC = tls.allowsCBC
        for certificate in tls.additionalCertificates.compactMap(AdditionalCertificate.init) {
            settings.certificatesByHost[certificate.hostName] = certificate.files
        }
        identity = try TLSIdentity(settings, limits: limits)
    }
}
