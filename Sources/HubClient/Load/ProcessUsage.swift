// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
import Glibc
#endif

/// What a process of this machine has used, out of /proc.
public struct ProcessUsage: Hashable, Sendable {
    /// CPU time in user and kernel mode together.
    public var cpuSeconds: Double
    /// Resident memory.
    public var residentKiB: Int

    /// Makes figures.
    public init(cpuSeconds: Double, residentKiB: Int) {
        self.cpuSeconds = cpuSeconds
        self.residentKiB = residentKiB
    }

    /// The figures of a process now.
    ///
    /// - Parameter processID: the process; 0 is this one.
    /// - Returns: nil when there is no such process, or it is not ours to look at.
    public static func now(processID: Int32) -> ProcessUsage? {
        let name = processID == 0 ? "self" : String(processID)
        guard let stat = Self.text(of: "/proc/\(name)/stat"), let status = Self.text(of: "/proc/\(name)/status") else {
            return nil
        }
        return Self.parse(stat: stat, status: status, ticksPerSecond: Double(sysconf(Int32(_SC_CLK_TCK))))
    }

    /// Reads the two files of proc(5).
    static func parse(stat: String, status: String, ticksPerSecond: Double) -> ProcessUsage? {
        // The second field is the program's name in parentheses, which may hold anything: count from the last one.
        guard let end = stat.lastIndex(of: ")") else { return nil }
        let fields = stat[stat.index(after: end)...].split(separator: " ")
        guard fields.count > 12, let user = Double(fields[11]), let kernel = Double(fields[12]) else { return nil }
        let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
        let resident = line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) } ?? 0
        return ProcessUsage(cpuSeconds: (user + kernel) / ticksPerSecond, residentKiB: resident)
    }

    private static func text(of path: String) -> String? {
        guard let file = fopen(path, "r") else { return nil }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = fread(&chunk, 1, chunk.count, file)
            guard count > 0 else { break }
            bytes += chunk[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
