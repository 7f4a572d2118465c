// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Glibc
import Testing

/// A directory of one test's own; remove() takes it away with what is in it.
struct TemporaryDirectory {
    let path: String

    init() throws {
        var template = Array("/tmp/roost-test-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw TemporaryDirectoryError(errno: errno) }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    func remove() {
        do {
            try FileManager.default.removeItem(atPath: path)
        } catch {
            Issue.record("\(path) can't be removed: \(error)")
        }
    }

    func mode(of name: String) -> UInt32 {
        do {
            let attributes = try FileManager.default.attributesOfItem(atPath: path + "/" + name)
            return (attributes[.posixPermissions] as? UInt).map { UInt32($0) } ?? 0
        } catch {
            return 0
        }
    }
}

struct TemporaryDirectoryError: Error {
    let errno: Int32
}
