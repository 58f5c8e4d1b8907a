import Glibc

/// Memory of the tail and its tables: zeros straight from the kernel, all pages at once.
///
/// Touched for the first time one by one, they cost a microsecond and more each on a virtual machine: 30 ms of a burst for the tail, and
/// 6 ms in which nothing was answered each time a table of 16 MiB was made.
enum ZeroedMemory {
    /// MAP_ANONYMOUS and MAP_POPULATE, which Swift's Glibc shows as more than one type.
    private static let flags = MAP_PRIVATE | 0x20 | 0x8000

    static func allocate<Element>(_ type: Element.Type, count: Int) -> UnsafeMutablePointer<Element> {
        let bytes = count * MemoryLayout<Element>.stride
        guard let place = mmap(nil, bytes, PROT_READ | PROT_WRITE, flags, -1, 0), place != MAP_FAILED
        else { preconditionFailure("out of memory for \(bytes) bytes") }
        return place.bindMemory(to: type, capacity: count)
    }

    /// Gives back what `allocate` gave for so many.
    static func free<Element>(_ place: UnsafeMutablePointer<Element>, count: Int) {
        munmap(place, count * MemoryLayout<Element>.stride)
    }
}
