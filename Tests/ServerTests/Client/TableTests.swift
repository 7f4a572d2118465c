// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubClient
import Testing

@testable import roost

@Suite struct TableTests {
    @Test func `columns are as wide as they need to be and numbers stand at the right`() {
        var table = Table("NAME", "#COUNT", "NOTE")
        table.add("a", "5", "")
        table.add("longer", "1,000", "x")
        #expect(table.render() == "NAME    COUNT  NOTE\na           5\nlonger  1,000  x\n")
    }

    @Test func `control characters cannot steer the terminal`() {
        var table = Table("NAME")
        table.add("\u{1B}[2Jgone\n\u{9B}")
        #expect(table.render() == "NAME\n\\u{1b}[2Jgone\\u{a}\\u{9b}\n")
    }

    @Test(arguments: [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567"), (-4321, "-4,321")])
    func `thousands are grouped`(_ number: Int, _ text: String) {
        #expect(grouped(number) == text)
    }

    @Test(arguments: [
        (1.005, 1, "1.0"), (0.96, 1, "1.0"), (12.345, 2, "12.35"), (3.0, 0, "3"), (-0.4, 0, "0"), (-1.25, 2, "-1.25"),
        (0.05, 2, "0.05"), (.infinity, 1, "-"),
    ])
    func `numbers are rounded to the digits asked for`(_ number: Double, _ digits: Int, _ text: String) {
        #expect(fixed(number, digits: digits) == text)
    }

    @Test func `a device is shown without its keys, and year 1 as never`() {
        var device = DeviceIdentity(deviceID: "dev1")
        device.status = "enabled"
        device.lastActivityTime = "0001-01-01T00:00:00"
        device.authentication = .keys(primary: "c2VjcmV0c2VjcmV0", secondary: "c2VjcmV0c2VjcmV0")
        let sheet = DeviceText.sheet(device)
        let table = DeviceText.table([device])
        #expect(!sheet.contains("c2Vj") && !table.contains("c2Vj"))
        #expect(sheet.contains("last activity       never\n"))
        #expect(table.hasSuffix("\ndev1    enabled  -           never          sas\n"))
    }
}
