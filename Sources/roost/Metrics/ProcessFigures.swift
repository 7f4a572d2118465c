// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Glibc
import HubTransport

/// What the operating system says about this process.
struct ProcessFigures: Sendable {
    var residentBytes = 0
    var cpuSeconds = 0.0
    var openDescriptors = 0
    var descriptorsMax = 0

    /// Asks now.
    static func current() -> ProcessFigures {
        var figures = ProcessFigures()
        var usage = rusage()
        if getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 {
            for time in [usage.ru_utime, usage.ru_stime] {
                figures.cpuSeconds += Double(time.tv_sec) + Double(time.tv_usec) / 1e6
            }
        }
        var limit = rlimit()
        if getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 {
            figures.descriptorsMax = Int(clamping: limit.rlim_cur)
        }
        if let directory = opendir("/proc/self/fd") {
            while readdir(directory) != nil { figures.openDescriptors += 1 }
            closedir(directory)
            // Not ".", not "..", and not the descriptor that this listing took.
            figures.openDescriptors = max(0, figures.openDescriptors - 3)
        }
        figures.residentBytes = residentPages() * Int(sysconf(Int32(_SC_PAGESIZE)))
        return figures
    }

    private static func residentPages() -> Int {
        do {
            let text = String(decoding: try SecretFile.read("/proc/self/statm"), as: UTF8.self)
            return text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
        } catch {
            return 0
        }
    }
}
