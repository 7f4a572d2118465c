// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Hub
import HubModel

extension HubNames {
    /// The identities that a user name of SASL PLAIN may mean; none for a service's name.
    ///
    /// It is `{d}@sas.{hub}` or `{d}/modules/{m}@sas.{hub}`, also without `sas.`; ids come raw or percent-encoded.
    func identities(ofPlainName name: String) -> [IdentityID] {
        guard let at = name.lastIndex(of: "@") else { return [] }
        var realm = name[at...].dropFirst().lowercased()
        guard !realm.hasPrefix("sas.root.") else { return [] }
        if realm.hasPrefix("sas.") { realm.removeFirst(4) }
        guard isEntity(realm) else { return [] }
        let path = name[..<at].split(separator: "/", omittingEmptySubsequences: false)
        guard path.count == 1 || path.count == 3 && path[1].lowercased() == "modules" else { return [] }
        var found: [IdentityID] = []
        for decodes in [false, true] {
            let ids = [path[0], path[path.count - 1]].map { decodes ? PercentEncoding.decode($0) : String($0) }
            guard let device = ids[0], let module = ids[1], IdentityID.isLegal(device), IdentityID.isLegal(module)
            else {
                continue
            }
            let id = IdentityID(device: device, module: path.count == 3 ? module : nil)
            if !found.contains(id) { found.append(id) }
        }
        return found
    }
}
