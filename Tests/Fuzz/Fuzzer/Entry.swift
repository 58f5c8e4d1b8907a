import Glibc

// What libFuzzer calls. Its own `main` reads the arguments; which target is fuzzed, LEADLEDGER_FUZZ_TARGET says.

private let target: FuzzTarget = {
    let name = getenv("LEADLEDGER_FUZZ_TARGET").map { String(cString: $0) } ?? ""
    guard let target = FuzzTarget(rawValue: name) else {
        fatalError("LEADLEDGER_FUZZ_TARGET is one of \(FuzzTarget.allCases.map(\.rawValue))")
    }
    return target
}()

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    target.run(UnsafeRawBufferPointer(start: start, count: count))
    return 0
}
