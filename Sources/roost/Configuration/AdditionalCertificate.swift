// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubTransport

/// A certificate for one host name, written `HOST=CHAINFILE,KEYFILE`.
struct AdditionalCertificate {
    let hostName: String
    let files: CertificateFiles

    /// Nil when the text has another form.
    init?(_ text: String) {
        guard let equals = text.firstIndex(of: "="), let comma = text.lastIndex(of: ","), equals < comma else {
            return nil
        }
        let host = text[..<equals].lowercased()
        let chain = text[text.index(after: equals)..<comma]
        let key = text[text.index(after: comma)...]
        guard SubjectNames.isHostName(host), !chain.isEmpty, !key.isEmpty else { return nil }
        hostName = host
        files = CertificateFiles(chain: String(chain), privateKey: String(key))
    }
}
