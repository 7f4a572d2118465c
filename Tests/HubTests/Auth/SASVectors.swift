// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel

@testable import Hub

/// The keys, names and published vectors of docs/wire/security.md.
enum SASVectors {
    static let device = CredentialPair(
        primary: "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        secondary: "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="
    )
    static let module = CredentialPair(primary: "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8=")
    static let ownerKey = "YGFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6e3x9fn8="
    static let serviceKey = "gIGCg4SFhoeIiYqLjI2Oj5CRkpOUlZaXmJmam5ydnp8="
    static let otherKey = "oKGio6SlpqeoqaqrrK2ur7CxsrO0tba3uLm6u7y9vr8="

    static let names = HubNames(hostNames: ["hub1.example.com", "localhost", "eh.example.com"])
    static let now: Int64 = 1_800_000_000
    static let far: Int64 = 4_102_444_800

    static var settings: AuthenticationSettings {
        var settings = AuthenticationSettings()
        settings.allowsSampleKeys = true
        return settings
    }

    static let policies: [SharedAccessPolicy] = [
        SharedAccessPolicy(
            name: "iothubowner",
            primaryKey: ownerKey,
            secondaryKey: otherKey,
            rights: [.registryRead, .registryWrite, .serviceConnect, .deviceConnect]
        ),
        SharedAccessPolicy(name: "service", primaryKey: serviceKey, secondaryKey: otherKey, rights: .serviceConnect),
        SharedAccessPolicy(name: "device", primaryKey: ownerKey, secondaryKey: otherKey, rights: .deviceConnect),
        SharedAccessPolicy(name: "registryRead", primaryKey: otherKey, secondaryKey: ownerKey, rights: .registryRead),
    ]

    static func table() -> PolicyTable { PolicyTable(self.policies, allowsSampleKeys: true) }

    static func identity(
        _ id: IdentityID,
        _ keys: CredentialPair = device,
        status: IdentityStatus = .enabled,
        authentication: AuthenticationType = .sas
    ) -> RegisteredIdentity {
        RegisteredIdentity(
            id: id,
            generationID: "g",
            etag: "e",
            status: status,
            authentication: authentication,
            symmetricKeys: keys
        )
    }

    static func token(_ sr: String, _ sig: String, _ se: String = "4102444800", skn: String? = nil) -> String {
        let encoded = sig.replacing("+", with: "%2B").replacing("/", with: "%2F").replacing("=", with: "%3D")
        return "SharedAccessSignature sr=\(sr)&sig=\(encoded)&se=\(se)" + (skn.map { "&skn=\($0)" } ?? "")
    }

    /// Signs a token for what no published vector covers.
    static func signed(
        _ sr: String,
        key: String,
        se: String = "4102444800",
        skn: String? = nil,
        dialect: TokenDialect = .hub
    ) -> String {
        let secret = dialect == .hub ? Base64.decode(key) ?? [] : Array(key.utf8)
        return self.token(sr, HMACText.sign("\(sr)\n\(se)", secret), se, skn: skn)
    }

    /// Decides about a device `id` that is registered with the device keys unless told otherwise.
    static func decide(
        _ token: String,
        _ id: String,
        module: String? = nil,
        identity: RegisteredIdentity?? = nil,
        device: RegisteredIdentity? = nil,
        settings: AuthenticationSettings = settings,
        now: Int64 = now
    ) -> Result<AuthenticatedIdentity, SignInRefusal> {
        let id = IdentityID(device: id, module: module)
        let own = identity ?? self.identity(id, module == nil ? self.device : self.module)
        let owner = module == nil ? own : device ?? self.identity(IdentityID(device: id.device))
        return DeviceTokenDecision(id: id, identity: own, device: owner).decide(
            token,
            names: self.names,
            policies: self.table(),
            settings: settings,
            clockSkewSeconds: 300,
            nowSeconds: now
        )
    }

    static func services(
        _ table: PolicyTable = table(),
        _ settings: AuthenticationSettings = settings
    ) -> PolicyAuthenticator {
        PolicyAuthenticator(names: self.names, policies: table, settings: settings, limits: Limits())
    }

    static let v1 = token("hub1.example.com%2Fdevices%2Fdev1", "KH7eVz1MOUV4A+nmuRpKhLCMqntI0rj6bTjSPJi5t9c=")
    static let v2 = token("hub1.example.com%2Fdevices%2Fdev1", "Gg2kRv0+h47Cnz1zHHbovFsv/HRACWAJpyjJ6OVtF/E=")
    static let v3 = token(
        "hub1.example.com%2Fdevices%2Fdev1%2Fmodules%2Fmod1",
        "xN0LPPSUgzeiXKU8EFaESfw2oHe1Q/DRaLLurjHIBzM="
    )
    static let v4 = token("hub1.example.com/devices/dev1", "w0KgkpdzckhIlUWr8HYtUXZRhGjOx6GXQrEOf4SLNg0=")
    static let v5 = token(
        "hub1.example.com%2Fdevices%2Fa%253Ac%2540d%2523e",
        "TTVieHqnmLv3/3dvTV+WV+S5iEQRHCMCV8d7E1vEWmQ="
    )
    static let v6 = token("hub1.example.com%2Fdevices%2Fa%3Ac%40d%23e", "/ZMtLYuG/obkpp4nZyJqXHb97kgY417tJvPL6lD5+V0=")
    static let v7 =
        "SharedAccessSignature sr=hub1.example.com&sig=gvTQbic9JJPd0ZE/yE6QKGquMLhH9S7bxOqaapwS%2BGw%3D&se=1893456002&skn=service"
    static let v8 = token("hub1.example.com", "X0GvajFoJtDKL/pOC7Vfw7Z7nXEXY4isjDYK48XL9xI=", skn: "service")
    static let v9 = token("localhost%3A8443%2Fdevices%2Fdev1", "ZajQ4NnTMp73mb/JiKjjoc+odaFwO9VSFIsNgjOuYhc=")
    static let v10Signature = "by35H06Azc/gB0YhgRKMs9JL2azxvDBs+pypmJdfjd4="
    static let v10 = token("hub1.example.com%2Fdevices%2Fdev1", v10Signature, skn: "device")
    static let v11 = token("hub1.example.com%2Fdevices", "LOCkb3YQ8RwtvxHEIzi954ehekbrfCYDqPMN0WrWjL4=", skn: "device")
    static let v12 = token(
        "hub1.example.com%2Fdevices%2Fedge1%2Fmodules%2F%24edgeHub",
        "2+XDcb01apspN93tUO0RERDwLTl2BWNL7m8MNdbLUWE="
    )
    static let v13 = token(
        "hub1.example.com%2Fdevices%2Fedge1%2Fmodules%2F%2524edgeHub",
        "k08rR9rwGR5oDa0EM2SSpV3f3xRCJE0ZG0sU65e1nhU="
    )
    static let v14 = token("hub1.example.com%2Fdevices%2Fedge1", "gCbJIL0HyD4dAboSFXU677lGrtB9JcG/A9I0cu8l2yg=")
    static let v15 = token(
        "hub1.example.com%2Fdevices%2Fdev1%2Fapi-version%3D2016-11-14",
        "S4nqazJVYvcoqzSoOzoptxlH9uiw1J8io6VRIgLnx54="
    )
    static let v16 = token(
        "hub1.example.com",
        "mwNCoMfZUjcjkc5dJQ8sZoVo5qIK4b5gAZTwSj5XgaU=",
        "4102444800000",
        skn: "service"
    )
    static let v17 = token(
        "hub1.example.com%2Fdevices%2Fdev1",
        "I8f0HQ+ZUqoRFYcTC42KlQ+HRoqJBb9zZKrPrKVcSD0=",
        "1500000000"
    )
    static let v18 = token(
        "hub1.example.com%2Fdevices%2Fsensor%277%24a%3Db",
        "VGgUdXx26chWTOyRVtFrx5FdxCNbyJceLA5CvwzJXlk="
    )
    static let v19 = token(
        "sb%3A%2F%2Feh.example.com%2Fiothub-ehub-1",
        "vXAfzmdwJSp4RpS54xSkTJzKvwHvSfDVVqZPJ8nGbF8=",
        skn: "iothubowner"
    )
    static let v20 = token(
        "amqp%3A%2F%2Feh.example.com%2Fiothub-ehub-1%2FConsumerGroups%2F%24Default%2FPartitions%2F0",
        "BjDst2GIRkkqJu/J4xim9/6DiUEA1sjJbdL7pnBm0Co=",
        skn: "iothubowner"
    )
}
