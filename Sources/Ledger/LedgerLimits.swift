/// The bounds that the format and the log itself keep, with their units and reasons. Those an operator may set are in
/// ``LogConfiguration``.
package enum LedgerLimits {
    /// Bytes of a record, trailer included. A tlog bundle frames an entry with a 16-bit length, and LMDB values far
    /// above a page get slow; 60 KiB leaves room for both.
    package static let recordBytesMax = 60 * 1_024
    /// Bytes of a subject and of an event id.
    package static let identifierBytesMax = 128
    /// Bytes of what is length-prefixed with one byte: source, correlation, causation, traceparent.
    package static let shortTextBytesMax = 255

    /// Events and milliseconds of one slice of reading: a read transaction that lives long keeps pages from reuse.
    package static let sliceEventsMax = 10_000
    package static let sliceMilliseconds: UInt64 = 50

    /// Bytes of one commit, and a unit: about 35,000 dirty pages, far from the 131,071 where LMDB spills them.
    package static let groupBytesMax = 64 << 20

    /// Events of one index transaction. LMDB has room for 131,071 changed pages in one, and a nested one that finds no more is refused
    /// (MDB_TXN_FULL). An event changes three leaf pages at worst (its row, and two entries of `older`), and a branch page above each.
    package static let indexTransactionEventsMax = 20_000

    /// Events of a nested transaction, of the index and of read models. Rows changed at random by a loop over LMDB alone, 10,000 and
    /// 20,000 in a transaction: parts of 2,500 took 6.0 to 6.2 us a row, parts of 1,000 a little more, and without parts it was 6.4 to
    /// 8.9, depending on which pages had been given up before.
    package static let nestedEvents = 2_500

    /// Records whose hashes are looked at before the first answer after a start.
    package static let tailRecordsVerified = 10_000
    /// Bytes at the end of the log that are read from the device, not from memory, at a start (a failed flush may have
    /// left pages in memory that are not on the disk).
    package static let tailBytesReread = 64 << 20

    /// Bytes of a register's key, and of its value. Most values are a few numbers; the longest are what a client has asked for,
    /// kept to be read at the next start. LMDB gets slow with values far above a page.
    package static let registerKeyBytesMax = 32
    package static let registerValueBytesMax = 48 << 10

    /// Events that a version conflict names, the first after the expected version. By taste: who got there first is among them, and who
    /// wants the others reads the stream.
    package static let conflictEventsMax = 16
}
