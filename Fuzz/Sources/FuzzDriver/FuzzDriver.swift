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

/// What a program gives to libFuzzer: called with bytes again and again, in one thread.
nonisolated(unsafe) private var exercise: ([UInt8]) -> Void = { _ in }

/// Runs libFuzzer with the arguments of the command line; its body is a C function, which can't hold `body` itself.
public func fuzz(_ body: @escaping ([UInt8]) -> Void) {
    exercise = body
    var count = CommandLine.argc
    var arguments = CommandLine.unsafeArgv
    _ = runDriver(&count, &arguments) { bytes, size in
        exercise([UInt8](UnsafeBufferPointer(start: bytes, count: size)))
        return 0
    }
}
