// What the address sanitizer must report, with the argument `fault`: memory that is read after it was freed. Without it the
// memory is read before.

@main enum Planted {
    static func main() {
        let isFaulty = CommandLine.arguments.dropFirst().first == "fault"
        let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: 64)
        bytes.initialize(repeating: 7, count: 64)
        if isFaulty { bytes.deallocate() }
        print(bytes[3])
        if !isFaulty { bytes.deallocate() }
    }
}
