import Glibc

/// Replies to requests whose ids have ten digits, compared with what they should be without parsing them.
enum ReplyLine {
    private static let head: StaticString = #"{"jsonrpc":"2.0","id":"#
    private static let result: StaticString = #","result":"#

    /// Whether `line` is the result of the request with this id.
    static func isResult(_ line: UnsafeRawBufferPointer, of request: UInt64) -> Bool {
        let idStart = Self.head.utf8CodeUnitCount
        let idEnd = idStart + EventTemplate.digits
        guard let base = line.baseAddress, line.count > idEnd + Self.result.utf8CodeUnitCount,
            memcmp(base, Self.head.utf8Start, idStart) == 0,
            memcmp(base + idEnd, Self.result.utf8Start, Self.result.utf8CodeUnitCount) == 0
        else { return false }
        var id: UInt64 = 0
        for index in idStart..<idEnd { id = id &* 10 &+ UInt64(line[index] &- UInt8(ascii: "0")) }
        return id == request
    }

    /// As much of a line as a message may show.
    static func excerpt(_ line: UnsafeRawBufferPointer) -> String {
        String(decoding: line.prefix(600), as: UTF8.self)
    }
}
