// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// libFuzzer's own loop: SwiftPM owns `main`, so it is called from there.
@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
    _ count: UnsafeMutablePointer<Int32>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ body: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32
) -> Int32

/// Fuzzes the AMQP decoders: frames, performatives, SASL, values and message sections.
@main
struct FuzzAMQP {
    static func main() {
        var count = CommandLine.argc
        var arguments = CommandLine.unsafeArgv
        _ = runDriver(&count, &arguments) { bytes, size in
            exerciseAMQP([UInt8](UnsafeBufferPointer(start: bytes, count: size)))
            return 0
        }
    }
}
