// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import roost

struct HubDirectoryTests {
    @Test func `a data directory is made for its owner only and taken by one`() throws {
        let parent = try TemporaryDirectory()
        defer { parent.remove() }
        let path = parent.path + "/a/b"
        var first: HubDirectory? = try HubDirectory(path)
        #expect(first?.isNew == true)
        #expect(parent.mode(of: "a/b") == 0o700)
        let error = #expect(throws: DirectoryProblem.self) { try HubDirectory(path) }
        #expect(error?.description.contains("in use by another roost (process ") == true)
        #expect(error?.description.contains("--data") == true)
        first = nil
        #expect(try HubDirectory(path).isNew == false)
    }

    @Test func `a data directory that can't be made is reported`() {
        let error = #expect(throws: DirectoryProblem.self) { try HubDirectory("/proc/nothing/here") }
        #expect(error?.description.contains("can't be used as data directory") == true)
    }
}
