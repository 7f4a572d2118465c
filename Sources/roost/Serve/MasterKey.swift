// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubTransport

/// The file with the key that encrypts the keys in the state database: beside it, so that the database's file alone is of no
/// use to whoever gets hold of it.
struct MasterKey {
    private let path: String

    private static let name = "state.key"
    private static let size = 32

    /// The key of a data directory.
    init(dataDirectory: String) {
        path = dataDirectory + "/" + Self.name
    }

    /// The key, made at the first start.
    ///
    /// - Throws: `ExposedSecret` when others can read the file, `FileError`, `BadMasterKey`
    func bytes() throws -> [UInt8] {
        guard SecretFile.exists(path) else {
            var random = SystemRandomNumberGenerator()
            let fresh = (0..<Self.size).map { _ in UInt8.random(in: .min ... .max, using: &random) }
            try SecretFile.write(fresh, to: path)
            return fresh
        }
        try SecretFile.checkPrivate(path)
        let bytes = try SecretFile.read(path)
        guard bytes.count == Self.size else { throw BadMasterKey(path: path) }
        return bytes
    }

    /// Puts a copy into another data directory.
    func copy(to directory: String) throws {
        guard SecretFile.exists(path) else { return }
        try SecretFile.write(try SecretFile.read(path), to: directory + "/" + Self.name)
    }
}

/// A file that should hold the master key and does not.
struct BadMasterKey: Error, CustomStringConvertible {
    let path: String

    var description: String { "\(path) does not hold the 32 bytes that this hub wrote. Restore it from a backup." }
}
