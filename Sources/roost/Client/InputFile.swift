// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Glibc
import HubTransport

/// What a command reads: a file, or standard input for `-`.
enum InputFile {
    /// More than any of it may be: a list of a million devices with their keys has less.
    private static let sizeBytesMax = 1 << 30

    /// All that is there.
    ///
    /// - Throws: ``CommandError/unreadableFile(_:reason:)``.
    static func bytes(_ file: String) throws(CommandError) -> [UInt8] {
        do throws(FileError) {
            return try SecretFile.read(file == "-" ? "/dev/stdin" : file, sizeBytesMax: self.sizeBytesMax)
        } catch {
            throw .unreadableFile(self.name(file), reason: String(cString: strerror(error.errno)))
        }
    }

    /// All that is there as text.
    ///
    /// - Throws: ``CommandError/unreadableFile(_:reason:)``, also when it is no UTF-8.
    static func text(_ file: String) throws(CommandError) -> String {
        guard let text = String(validating: try self.bytes(file), as: UTF8.self) else {
            throw .unreadableFile(self.name(file), reason: "it is not UTF-8 text")
        }
        return text
    }

    /// What a message calls the file.
    static func name(_ file: String) -> String {
        file == "-" ? "standard input" : file
    }
}
