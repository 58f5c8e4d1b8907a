import Leads
import Ledger
import LMDB

// The table `wins`, which three models keep: for each lead its conversions that are not revoked, in the order of the log.
//
// key, 20 bytes     0 16 stream key | 16 4 number, from 0
// value, 40 bytes   0  1 version of this layout = 1 | 1 3 zero
//                   4  4 currency, packed
//                   8  8 instant of the win, microseconds
//                  16  8 position of the win
//                  24  8 amount, minor units: the newest one
//                  32  8 the earliest instant of this win and all below it in the stack
//
// It is a stack, because un_win takes back the newest win and nothing else can: a lead that won stays won until it is un-won, or
// begins a new cycle, after which the old win is out of reach.

/// One conversion.
struct Win: Equatable, Sendable {
    var at: Occurrence
    var amount: Int64
    var currency: UInt32
    /// The earliest instant of all wins up to this one.
    var earliest: Int64

    fileprivate static let bytes = 40
    fileprivate static let version: UInt8 = 1

    fileprivate init(_ value: UnsafeRawBufferPointer) throws(ProjectionError) {
        guard value.count == Win.bytes, value[0] == Win.version else { throw .brokenRow }
        currency = value.bigEndian(at: 4)
        at = Occurrence(time: Instant(microseconds: value.bigEndian(at: 8)), position: value.bigEndian(at: 16))
        amount = value.bigEndian(at: 24)
        earliest = value.bigEndian(at: 32)
    }

    init(at: Occurrence, amount: Int64, currency: UInt32, earliest: Int64) {
        self.at = at
        self.amount = amount
        self.currency = currency
        self.earliest = earliest
    }

    fileprivate func withBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
        try withUnsafeBytes(
            of: (
                (UInt32(Win.version) << 24).bigEndian, currency.bigEndian, at.time.microseconds.bigEndian,
                at.position.bigEndian, amount.bigEndian, earliest.bigEndian
            ), body)
    }
}

struct WinStack: Sendable {
    let table: Table

    private static let keyBytes = 20

    private static func withKey<R>(
        _ lead: StreamKey, _ number: UInt32, _ body: (UnsafeRawBufferPointer) throws -> R
    ) rethrows -> R {
        try withUnsafeTemporaryAllocation(byteCount: keyBytes, alignment: 8) { key in
            key.storeBytes(of: lead.high.bigEndian, as: UInt64.self)
            key.storeBytes(of: lead.low.bigEndian, toByteOffset: 8, as: UInt64.self)
            key.storeBytes(of: number.bigEndian, toByteOffset: 16, as: UInt32.self)
            return try body(UnsafeRawBufferPointer(key))
        }
    }

    /// The newest win and its number; nil for a lead without one.
    private func newest<T: ReadingTransaction & ~Copyable>(
        of lead: StreamKey, in transaction: borrowing T
    ) throws -> (number: UInt32, win: Win)? {
        var cursor = try transaction.makeCursor(on: table)
        let found = try Self.withKey(lead, .max) { try cursor.seek(before: $0) }
        guard let found, lead.isPrefix(of: found.key) else { return nil }
        return (found.key.bigEndian(at: 16), try Win(found.value))
    }

    func top<T: ReadingTransaction & ~Copyable>(of lead: StreamKey, in transaction: borrowing T) throws -> Win? {
        try newest(of: lead, in: transaction)?.win
    }

    /// Adds what a `won` event brings.
    @discardableResult
    func push(_ event: ProjectedEvent, lead: StreamKey, in transaction: inout WriteTransaction) throws -> Win {
        let (amount, currency) = (try event.amount(), try event.currency())
        let top = try newest(of: lead, in: transaction)
        let win = Win(
            at: event.occurrence, amount: amount, currency: currency,
            earliest: min(event.instant, top?.win.earliest ?? .max))
        try put(win, lead, top.map { $0.number + 1 } ?? 0, in: &transaction)
        return win
    }

    /// Gives the newest win the amount of a `won_revised`.
    @discardableResult
    func revise(_ event: ProjectedEvent, lead: StreamKey, in transaction: inout WriteTransaction) throws -> Win {
        guard let (number, before) = try newest(of: lead, in: transaction) else {
            throw BadEvent("there is no win to revise")
        }
        var win = before
        win.amount = try event.amount()
        try put(win, lead, number, in: &transaction)
        return win
    }

    /// Takes the newest win back, as `reopened` with `un_win` asks.
    /// - Returns: the win that was revoked.
    @discardableResult
    func pop(lead: StreamKey, in transaction: inout WriteTransaction) throws -> Win {
        guard let (number, win) = try newest(of: lead, in: transaction) else {
            throw BadEvent("there is no win to take back")
        }
        let table = table
        try Self.withKey(lead, number) { _ = try transaction.delete(in: table, at: $0) }
        return win
    }

    private func put(_ win: Win, _ lead: StreamKey, _ number: UInt32, in transaction: inout WriteTransaction) throws {
        let table = table
        try Self.withKey(lead, number) { key in
            try win.withBytes { try transaction.put($0, in: table, at: key) }
        }
    }

    /// All of a lead's wins that are not revoked, in the order of the log.
    func all<T: ReadingTransaction & ~Copyable>(
        of lead: StreamKey, in transaction: borrowing T, into wins: inout [Win]
    ) throws {
        wins.removeAll(keepingCapacity: true)
        var cursor = try transaction.makeCursor(on: table)
        var entry = try Self.withKey(lead, 0) { try cursor.seek(to: $0) }
        while let found = entry, lead.isPrefix(of: found.key) {
            wins.append(try Win(found.value))
            entry = try cursor.next()
        }
    }
}
