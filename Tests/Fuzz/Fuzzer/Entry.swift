import Glibc

// What libFuzzer calls, and what calls libFuzzer: the package manager links a program's `main` to a symbol of its own naming, which
// here has to be there although libFuzzer has a `main`. Which target is fuzzed, LEADLEDGER_FUZZ_TARGET says.

private let run: @Sendable (UnsafeRawBufferPointer) -> Void = {
    let name = getenv("LEADLEDGER_FUZZ_TARGET").map { String(cString: $0) } ?? ""
    // A fault for the fuzzer to find, by which scripts/fuzz knows that it finds any and that the input is kept.
    if name == "planted" { return { promise(!$0.starts(with: "LEAD".utf8), "planted") } }
    guard let target = FuzzTarget(rawValue: name) else {
        fatalError("LEADLEDGER_FUZZ_TARGET is one of \(FuzzTarget.allCases.map(\.rawValue))")
    }
    return target.run
}()

typealias FuzzCallback = @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32

/// libFuzzer's own loop. Declared here, since it comes with the sanitizer and no header of it does; arguments that are all
/// pointers are passed as C passes them.
@_silgen_name("LLVMFuzzerRunDriver")
func runFuzzer(
    _ count: UnsafeMutablePointer<Int32>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?>,
    _ callback: FuzzCallback
) -> Int32

@_cdecl("leadledger_fuzz_main")
public func start(_ count: Int32, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?) -> Int32 {
    var count = count
    var arguments = arguments
    return runFuzzer(&count, &arguments, fuzzOneInput)
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    run(UnsafeRawBufferPointer(start: start, count: count))
    return 0
}
