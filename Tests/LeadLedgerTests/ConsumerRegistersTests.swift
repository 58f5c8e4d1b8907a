import Ledger
import TestSupport
import Testing

@testable import LeadLedger

@Suite struct ConsumerRegistersTests {
    private let prefix = ConsumerRegisters.prefix("g")
    private let lead = StreamKey(high: 0x0102, low: .max)
    private let definition = ConsumerDefinition(
        name: "g", maxAttempts: 5, leaseNanoseconds: 30_000_000_000, from: 7, createdAt: -1,
        filter: Array(#"{"types":["lead.won"]}"#.utf8))

    private func read(_ write: RegisterWrite) -> ConsumerRegisters.Row? {
        write.key.withUnsafeBytes { key in (write.value ?? []).withUnsafeBytes { ConsumerRegisters.row(key, $0) } }
    }

    private var writes: [RegisterWrite] {
        let event = ParkedEvent(lead: lead, bytes: 61_440, attempt: 5, reason: .expired)
        func write(_ kind: ConsumerChange.Kind) -> RegisterWrite {
            ConsumerRegisters.write(
                ConsumerChange(position: 1 << 40, lead: lead, bytes: 61_440, kind: kind), prefix, now: -9)
        }
        return [
            ConsumerRegisters.write(definition, prefix), ConsumerRegisters.write(floor: .max, prefix),
            write(.acked(keepsRow: true)), write(.returned(attempt: 3, base: 1, delay: 8)), write(.reopened(event)),
            write(.parked(event, error: "Zoë")),
        ]
    }

    @Test func `rows read as they were written`() throws {
        let event = ParkedEvent(lead: lead, bytes: 61_440, attempt: 5, reason: .expired)
        let expected: [ConsumerRegisters.Row] = [
            .definition(definition), .floor(.max),
            .event(position: 1 << 40, .acked, parkedAt: 0, error: ""),
            .event(
                position: 1 << 40, .returned(lead: lead, bytes: 61_440, attempt: 3, base: 1), parkedAt: 0, error: ""),
            .event(
                position: 1 << 40, .returned(lead: lead, bytes: 61_440, attempt: 5, base: 5), parkedAt: 0, error: ""),
            .event(position: 1 << 40, .parked(event), parkedAt: -9, error: "Zoë"),
        ]
        #expect(writes.map { read($0) } == expected)
        #expect(writes.allSatisfy { $0.key.count == 26 && Array($0.key.prefix(17)) == prefix })
    }

    @Test func `an acked row that nobody needs is deleted`() {
        let change = ConsumerChange(position: 3, lead: lead, bytes: 1, kind: .acked(keepsRow: false))
        #expect(ConsumerRegisters.write(change, prefix, now: 0).value == nil)
    }

    @Test func `bytes that no writer wrote are no row, and never a trap`() {
        var random = SeededGenerator(seed: announcedSeed("ConsumerRegistersTests"))
        var refused = 0
        for _ in 0..<20_000 {
            let write = writes.randomElement(using: &random)!
            var key = write.key
            var value = write.value ?? []
            switch Int.random(in: 0..<4, using: &random) {
            case 0: value.removeLast(Int.random(in: 0...value.count, using: &random))
            case 1:
                value += (0..<Int.random(in: 1...40, using: &random)).map { _ in .random(in: 0...255, using: &random) }
            case 2: key.removeLast(Int.random(in: 0...key.count, using: &random))
            default:
                for index in value.indices where random.chance(20) {
                    value[index] = .random(in: 0...255, using: &random)
                }
                key[17] = .random(in: 0...4, using: &random)
            }
            var stored = StoredConsumer()
            key.withUnsafeBytes { key in value.withUnsafeBytes { stored.take(key, $0) } }
            if stored.wholeFault(prefix: prefix, end: 100) != nil { refused += 1 }
            // What passes for rows makes a group that can be used.
            let group = HeldGroup(stored, prefix: prefix, epoch: 1, end: 100)
            #expect(group.machine.brokenInvariants().isEmpty)
        }
        #expect(refused > 10_000)
    }

    @Test func `a group whose rows do not fit the log is not used`() {
        func fault(_ floor: UInt64?, _ rows: [UInt64: RecalledEvent], _ definition: ConsumerDefinition?)
            -> String?
        {
            var stored = StoredConsumer()
            (stored.definition, stored.floor, stored.rows) = (definition, floor, rows)
            return stored.wholeFault(prefix: prefix, end: 100)
        }
        #expect(fault(100, [99: .acked], definition) == nil)
        #expect(fault(101, [:], definition) != nil)
        #expect(fault(5, [100: .acked], definition) != nil)
        #expect(fault(nil, [:], definition) != nil)
        #expect(fault(5, [:], nil) != nil)
        var other = definition
        other.name = "h"
        #expect(fault(5, [:], other) != nil)
    }
}
