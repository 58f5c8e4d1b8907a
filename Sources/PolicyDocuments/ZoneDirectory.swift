import Glibc

/// The zone names that a machine knows, from its time zone files.
package struct ZoneDirectory: Sendable {
    private let path: String

    package init(path: String = "/usr/share/zoneinfo") { self.path = path }

    /// Whether `name` is a zone. No name leads out of the directory.
    package func contains(_ name: String) -> Bool {
        let parts = name.split(separator: "/", omittingEmptySubsequences: false)
        let isPlain = parts.allSatisfy { part in
            !part.isEmpty
                && part.utf8.allSatisfy { byte in
                    (byte | 0x20) &- UInt8(ascii: "a") < 26 || byte &- UInt8(ascii: "0") < 10
                        || [UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "+")].contains(byte)
                }
        }
        guard isPlain, let file = fopen(path + "/" + name, "re") else { return false }
        defer { fclose(file) }
        var magic = [UInt8](repeating: 0, count: 4)
        return fread(&magic, 1, 4, file) == 4 && magic.elementsEqual("TZif".utf8)
    }

    /// Whether there are zones at all: without, a check would call every zone unknown.
    package var isPresent: Bool { contains("UTC") }
}
