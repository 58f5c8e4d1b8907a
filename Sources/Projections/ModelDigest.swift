import Crypto
import LMDB
import Ledger

/// SHA-256 over a read model: the same on any machine that has applied the same events, however they were cut into batches (P5).
///
/// Hashed are, for each table in the order of the projection: length of its name u8, name, number of entries u64, then for each
/// entry in key order: length of the key u16, key, length of the value u32, value; at the end the progress u64. Big-endian.
enum ModelDigest {
    static func compute<T: ReadingTransaction & ~Copyable>(
        _ names: [String], _ tables: [Table], progress: UInt64, in transaction: borrowing T
    ) throws(LMDBError) -> [UInt8] {
        var hash = SHA256()
        for (name, table) in zip(names, tables) {
            let name = Array(name.utf8)
            update(&hash, UInt8(name.count))
            hash.update(data: name)
            update(&hash, UInt64(try transaction.count(of: table)))
            var cursor = try transaction.makeCursor(on: table)
            while let entry = try cursor.next() {
                update(&hash, UInt16(entry.key.count))
                hash.update(bufferPointer: entry.key)
                update(&hash, UInt32(entry.value.count))
                hash.update(bufferPointer: entry.value)
            }
        }
        update(&hash, progress)
        return Array(hash.finalize())
    }

    private static func update(_ hash: inout SHA256, _ number: some FixedWidthInteger) {
        withUnsafeBytes(of: number.bigEndian) { hash.update(bufferPointer: $0) }
    }
}
