// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// When a command ends that shows what comes.
struct EndOptions: ParsableArguments {
    @Option(name: .long, help: .init("End after so many.", valueName: "count"))
    var count: Int?

    @Option(name: .long, help: .init("End when so long none has come.", valueName: "seconds"))
    var timeout: Double?

    func validate() throws {
        guard self.count.map({ $0 > 0 }) ?? true else { throw ValidationError("--count is at least 1.") }
        guard self.timeout.map({ $0 > 0 && $0 <= 1e6 }) ?? true else {
            throw ValidationError("--timeout is more than 0.")
        }
    }
}
