import Control
import Crypto
import JSON
import Ledger

// ConsumerRegisters: what the disk knows of consumer groups: registers in the log's own environment, so that what is said of an event
// commits with the events that follow from it.
//
//   key      01 | first 16 bytes of SHA-256(name) | kind | position, big-endian      26 bytes
//
//   kind     position   value
//   0        0          definition: 01 | max attempts u64 | lease u64, ns | from u64 | created i64, µs | length of name u8 | name |
//                       the filter's JSON, empty for none
//   1        0          floor u64: each matching event below is acked or parked, or has a row that says otherwise
//   2        event's    01: acked
//                       02 | lead 16 | bytes u32 | attempt u64 | base u64: returned, or given back by a replay
//                       03 | lead 16 | bytes u32 | attempt u64 | reason u8 | parked at i64, µs | the error's text
//
// Rows of kind 2 with 01 stand at or beyond the floor; some below it wait to be deleted. Leases are not kept: a start has none.
// Whatever comes from here may be wrong, although the ledger has checked its sum: it is an error then, and never a trap.

enum ConsumerRegisters {
    static let namespace: UInt8 = 1
    private static let keyBytes = 26
    private static let definitionKind: UInt8 = 0
    private static let floorKind: UInt8 = 1
    private static let eventKind: UInt8 = 2
    /// Beyond this no attempt has been counted: what says more is broken, and sums of such numbers do not overflow.
    private static let attemptsMax: UInt64 = 1 << 48

    static func prefix(_ name: String) -> [UInt8] { [namespace] + SHA256.hash(data: Array(name.utf8)).prefix(16) }

    private static func key(_ prefix: [UInt8], _ kind: UInt8, _ position: UInt64) -> [UInt8] {
        prefix + [kind] + position.bigEndianBytes
    }

    static func eventKey(_ prefix: [UInt8], _ position: UInt64) -> [UInt8] { key(prefix, eventKind, position) }

    // MARK: Writing

    static func write(_ definition: ConsumerDefinition, _ prefix: [UInt8]) -> RegisterWrite {
        var value: [UInt8] = [1]
        value += definition.maxAttempts.bigEndianBytes
        value += definition.leaseNanoseconds.bigEndianBytes
        value += definition.from.bigEndianBytes
        value += UInt64(bitPattern: definition.createdAt).bigEndianBytes
        value.append(UInt8(truncatingIfNeeded: definition.name.utf8.count))
        value += Array(definition.name.utf8)
        value += definition.filter
        return RegisterWrite(key: key(prefix, definitionKind, 0), value: value)
    }

    static func write(floor: UInt64, _ prefix: [UInt8]) -> RegisterWrite {
        RegisterWrite(key: key(prefix, floorKind, 0), value: floor.bigEndianBytes)
    }

    static func writes(_ change: ConsumerGroup.FloorChange, _ prefix: [UInt8]) -> [RegisterWrite] {
        [write(floor: change.floor, prefix)]
            + change.rows.map { RegisterWrite(key: key(prefix, eventKind, $0), value: nil) }
    }

    /// - Parameter now: microseconds since 1970.
    static func write(_ change: ConsumerChange, _ prefix: [UInt8], now: Int64) -> RegisterWrite {
        let value: [UInt8]?
        switch change.kind {
        case .acked(let keepsRow): value = keepsRow ? [1] : nil
        case .returned(let attempt, let base, _):
            value = [2] + head(change.lead, change.bytes, attempt) + base.bigEndianBytes
        case .reopened(let event):
            value = [2] + head(change.lead, change.bytes, event.attempt) + event.attempt.bigEndianBytes
        case .parked(let event, let error):
            value =
                [3] + head(change.lead, change.bytes, event.attempt) + [event.reason.rawValue]
                + UInt64(bitPattern: now).bigEndianBytes + Array(error.utf8)
        }
        return RegisterWrite(key: key(prefix, eventKind, change.position), value: value)
    }

    private static func head(_ lead: StreamKey, _ bytes: UInt32, _ attempt: UInt64) -> [UInt8] {
        lead.high.bigEndianBytes + lead.low.bigEndianBytes + withUnsafeBytes(of: bytes.bigEndian) { Array($0) }
            + attempt.bigEndianBytes
    }

    // MARK: Reading

    /// A row as it is stored.
    enum Row: Equatable {
        case definition(ConsumerDefinition)
        case floor(UInt64)
        case event(position: UInt64, RecalledEvent, parkedAt: Int64, error: String)
    }

    /// The group's part of a key; nil where the key is none of ours.
    static func prefix(ofKey key: UnsafeRawBufferPointer) -> [UInt8]? {
        key.count == keyBytes && key[0] == namespace ? Array(key[..<17]) : nil
    }

    /// Nil for what no writer of ours has written.
    static func row(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Row? {
        guard key.count == keyBytes else { return nil }
        let position = UnsafeRawBufferPointer(rebasing: key[18...]).readUInt64(at: 0)
        switch key[17] {
        case definitionKind:
            guard position == 0, let definition = ConsumerDefinition(row: value) else { return nil }
            return .definition(definition)
        case floorKind: return position == 0 && value.count == 8 ? .floor(value.readUInt64(at: 0)) : nil
        case eventKind: return event(position, value)
        default: return nil
        }
    }

    private static func event(_ position: UInt64, _ value: UnsafeRawBufferPointer) -> Row? {
        guard value.count >= 1, position < .max else { return nil }
        if value[0] == 1 { return value.count == 1 ? .event(position: position, .acked, parkedAt: 0, error: "") : nil }
        guard value.count >= 37 else { return nil }
        let lead = StreamKey(high: value.readUInt64(at: 1), low: value.readUInt64(at: 9))
        // The lower half of these eight bytes, 17..<21.
        let bytes = UInt32(truncatingIfNeeded: value.readUInt64(at: 13))
        let attempt = value.readUInt64(at: 21)
        guard attempt < attemptsMax, bytes <= UInt32(LedgerLimits.recordBytesMax) else { return nil }
        switch value[0] {
        case 2:
            let base = value.readUInt64(at: 29)
            guard value.count == 37, base < attemptsMax else { return nil }
            return .event(
                position: position, .returned(lead: lead, bytes: bytes, attempt: attempt, base: base), parkedAt: 0,
                error: "")
        case 3:
            guard value.count >= 38, let reason = ParkReason(rawValue: value[29]) else { return nil }
            return .event(
                position: position, .parked(ParkedEvent(lead: lead, bytes: bytes, attempt: attempt, reason: reason)),
                parkedAt: Int64(bitPattern: value.readUInt64(at: 30)),
                error: String(decoding: value[38...], as: UTF8.self))
        default: return nil
        }
    }
}

/// What a group was created with.
struct ConsumerDefinition: Sendable, Equatable {
    var name: String
    var maxAttempts: UInt64
    var leaseNanoseconds: UInt64
    var from: UInt64
    /// Microseconds since 1970.
    var createdAt: Int64
    /// As the request had it, minified; empty for none.
    var filter: [UInt8]

    init(
        name: String, maxAttempts: UInt64, leaseNanoseconds: UInt64, from: UInt64, createdAt: Int64, filter: [UInt8]
    ) {
        self.name = name
        self.maxAttempts = maxAttempts
        self.leaseNanoseconds = leaseNanoseconds
        self.from = from
        self.createdAt = createdAt
        self.filter = filter
    }

    init?(row value: UnsafeRawBufferPointer) {
        guard value.count >= 34, value[0] == 1 else { return nil }
        let nameEnd = 34 + Int(value[33])
        guard nameEnd <= value.count, nameEnd > 34 else { return nil }
        self.init(
            name: String(decoding: value[34..<nameEnd], as: UTF8.self), maxAttempts: value.readUInt64(at: 1),
            leaseNanoseconds: value.readUInt64(at: 9), from: value.readUInt64(at: 17),
            createdAt: Int64(bitPattern: value.readUInt64(at: 25)), filter: Array(value[nameEnd...]))
        guard 1...UInt64(Limits.consumerAttemptsMax) ~= maxAttempts,
            1...UInt64(Limits.consumerLeaseMaxMilliseconds) * 1_000_000 ~= leaseNanoseconds
        else { return nil }
    }

    /// The filter as it works.
    func eventFilter() throws(QueryFault) -> EventFilter {
        guard !filter.isEmpty else { return EventFilter() }
        var parser = JSONParser()
        let value: JSONValue
        do throws(JSONError) { value = try parser.parse(filter) } catch {
            throw QueryFault(.corrupted, "the group's filter is not JSON: \(error.reason)")
        }
        return try EventFilter(value)
    }
}

/// All that the disk has of one group.
struct StoredConsumer {
    var definition: ConsumerDefinition?
    var floor: UInt64?
    var rows: [UInt64: RecalledEvent] = [:]
    /// The first thing that is wrong.
    var fault: String?

    mutating func take(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer?) {
        guard let value, let row = ConsumerRegisters.row(key, value) else {
            fault = fault ?? "a row of it is not what was written"
            return
        }
        switch row {
        case .definition(var definition):
            // See Notifications.swift. It also takes over a group that somebody made under this name before it was built in.
            if definition.name == NotificationGroup.name { definition.filter = NotificationGroup.filter }
            self.definition = definition
        case .floor(let floor): self.floor = floor
        case .event(let position, let event, _, _): rows[position] = event
        }
    }

    /// What is wrong with the whole, given where the log ends.
    func wholeFault(prefix: [UInt8], end: UInt64) -> String? {
        if let fault { return fault }
        guard let definition else { return "its definition is missing" }
        guard ConsumerRegisters.prefix(definition.name) == prefix else { return "its rows are of another name" }
        guard let floor else { return "its floor is missing" }
        guard floor <= end else { return "its floor \(floor) is beyond the log's end \(end)" }
        if let beyond = rows.keys.max(), beyond >= end {
            return "it speaks of position \(beyond), beyond the log's end \(end)"
        }
        return nil
    }

    /// Reads all groups, by the prefix of their keys.
    static func all(
        _ registers: (_ prefix: [UInt8], (UnsafeRawBufferPointer, UnsafeRawBufferPointer?) throws -> Bool) throws ->
            Void
    ) throws -> [[UInt8]: StoredConsumer] {
        var stored: [[UInt8]: StoredConsumer] = [:]
        try registers([ConsumerRegisters.namespace]) { key, value in
            if let prefix = ConsumerRegisters.prefix(ofKey: key) {
                stored[prefix, default: StoredConsumer()].take(key, value)
            } else {
                // Under a group that no name has.
                stored[Array(key), default: StoredConsumer()].fault = "a key of \(key.count) bytes among the groups"
            }
            return true
        }
        return stored
    }
}

extension UInt64 {
    var bigEndianBytes: [UInt8] { withUnsafeBytes(of: bigEndian) { Array($0) } }
}

extension UnsafeRawBufferPointer {
    /// The caller has looked at the length.
    fileprivate func readUInt64(at offset: Int) -> UInt64 {
        UInt64(bigEndian: loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }
}
