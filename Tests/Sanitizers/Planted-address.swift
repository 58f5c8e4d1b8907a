// Memory read after it was freed: what the address sanitizer must report.

@main enum Planted {
    static func main() {
        let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: 64)
        bytes.initialize(repeating: 7, count: 64)
        bytes.deallocate()
        print(bytes[CommandLine.argc > 100 ? 1 : 3])
    }
}
