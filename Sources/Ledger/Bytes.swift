import Glibc

extension UnsafeRawBufferPointer {
    /// The bytes of a literal, which live as long as the program.
    init(_ literal: StaticString) {
        self.init(start: literal.utf8Start, count: literal.utf8CodeUnitCount)
    }

    func hasSameBytes(as other: UnsafeRawBufferPointer) -> Bool {
        guard count == other.count else { return false }
        guard count > 0, let left = baseAddress, let right = other.baseAddress else { return true }
        return memcmp(left, right, count) == 0
    }
}

/// Bytes that grow at the end. Its owner frees it, and is a class, so that growing copies nothing but bytes.
struct GrowingBytes {
    private(set) var base: UnsafeMutableRawPointer
    private(set) var count = 0
    private(set) var capacity: Int

    init(capacity: Int) {
        self.capacity = capacity
        // malloc, since it is grown by realloc.
        guard let base = malloc(capacity) else { preconditionFailure("out of memory for \(capacity) bytes") }
        self.base = base
    }

    func release() { free(base) }

    mutating func removeAll() { count = 0 }
    mutating func remove(from newCount: Int) { count = newCount }

    @inline(__always)
    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count > 0, let source = bytes.baseAddress else { return }
        let start = extend(by: bytes.count)
        (base + start).copyMemory(from: source, byteCount: bytes.count)
    }

    @inline(__always)
    mutating func append(_ byte: UInt8) {
        let start = extend(by: 1)
        base.storeBytes(of: byte, toByteOffset: start, as: UInt8.self)
    }

    mutating func append(zeros: Int) {
        let start = extend(by: zeros)
        (base + start).initializeMemory(as: UInt8.self, repeating: 0, count: zeros)
    }

    /// Makes room, and gives the offset of it.
    @inline(__always)
    private mutating func extend(by bytes: Int) -> Int {
        let start = count
        count += bytes
        if count > capacity { grow() }
        return start
    }

    @inline(never)
    private mutating func grow() {
        var wanted = capacity * 2
        while wanted < count { wanted *= 2 }
        guard let moved = realloc(base, wanted) else { preconditionFailure("out of memory for \(wanted) bytes") }
        base = moved
        capacity = wanted
    }

    @inline(__always)
    subscript(index: Int) -> UInt8 { base.load(fromByteOffset: index, as: UInt8.self) }

    @inline(__always)
    subscript(range: Range<Int>) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: base + range.lowerBound, count: range.count)
    }
}
