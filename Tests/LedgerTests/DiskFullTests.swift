import Glibc
import Testing

@testable import Ledger

/// A full disk at 130 levels of free space around the sizes of commits (T6): appends are refused and nothing else
/// happens; reading goes on; with room again appends are taken, without a restart; a start on the full disk opens, or says why.
@Suite(.serialized, .enabled(if: SmallDisk.canMount, "mounting needs root")) struct DiskFullTests {
    /// Steps of 64 KiB are only allocated; those of 1 MiB are written ahead by a thread.
    @Test(arguments: SmallDisk.Kind.allCases, [(64 << 10, 50), (1 << 20, 15)])
    func `at every level of free space appends are refused cleanly and taken again when there is room`(
        kind: SmallDisk.Kind, space: (step: Int, levels: Int)
    ) throws {
        let (step, levels) = space
        let disk = try SmallDisk(kind, bytes: step > 64 << 10 ? 128 << 20 : 48 << 20, below: "/dev/shm")
        let folder = LedgerFolder(at: disk.path + "/data")
        var configuration = LogConfiguration.test
        configuration.spaceStepBytes = step
        var ledger: TestLedger? = try TestLedger(folder, configuration)
        var stored = 0
        var refusals = 0
        var refusedStarts = 0
        var startsOnFullDisk = 0
        /// Units of one to nine events, of a part of a page to ten of them.
        func append() throws -> Bool {
            let count = 1 + stored % 9
            let bytes = stored % 4 == 1 ? 40_000 / count : 1_000 + stored % 3_000
            let events = (0..<count).map {
                TestEvent(
                    stream: "L-\((stored + $0) % 50)", id: "\(stored + $0)",
                    text: "\"t\":\"\(String(repeating: "x", count: bytes))\"")
            }
            let outcome = try #require(ledger).append(events)
            if let receipt = outcome.receipt {
                #expect(receipt.first.rawValue == UInt64(stored) && !receipt.isDuplicate)
                stored += count
                return true
            }
            try #require(outcome.refusal == .diskFull, "\(outcome)")
            refusals += 1
            return false
        }
        for level in 0..<levels {
            // A group asks for 256 KiB and twice its bytes, in steps: from nothing to beyond a few of them.
            try disk.fill(leaving: level * 14_321 * step / (64 << 10))
            var taken = 0
            while taken < 2_000, try append() { taken += 1 }
            #expect(taken < 2_000, "level \(level) never filled up")
            // The index asks for room, too, and may give some back: what matters is that each is taken whole or refused.
            for _ in 0..<3 { _ = try append() }

            let open = try #require(ledger)
            #expect(!open.log.isPoisoned && open.log.end.rawValue == UInt64(stored))
            if stored > 0 {
                #expect(try open.log.record(at: position(UInt64(stored - 1))) { $0.eventID.text } == "\(stored - 1)")
                #expect(open.append(firstEvent(open)).receipt?.isDuplicate == true)
            }
            if level % 10 == 5 {
                // A start on the full disk.
                open.close()
                ledger = nil
                startsOnFullDisk += 1
                do throws(LedgerError) { ledger = try TestLedger(folder, configuration) } catch {
                    #expect(error.kind == .diskFull, "level \(level): \(error)")
                    refusedStarts += 1
                }
                if let ledger {
                    #expect(ledger.log.end.rawValue == UInt64(stored) && ledger.log.indexOrigin == .kept)
                    _ = try append()
                }
            }
            try disk.free()
            if ledger == nil { ledger = try TestLedger(folder, configuration) }
            #expect(try append(), "level \(level): refused with room")
        }
        print(
            "DiskFullTests: \(kind.rawValue), steps of \(step >> 10) KiB, \(levels) levels, \(refusals) refusals, \(stored) events, "
                + "\(startsOnFullDisk) starts on a full disk, \(refusedStarts) refused")
        #expect(refusals >= 3 * levels && stored > 40 * levels)
        try #require(ledger).close()
        let again = try TestLedger(folder, configuration)
        var read = 0
        while read < stored {
            read = Int(
                try again.log.read(from: position(UInt64(read)), limit: .max, maxBytes: .max) { record in
                    record.eventID.text == "\(record.position)"
                }.rawValue)
        }
        #expect(again.log.end.rawValue == UInt64(stored))
    }

    /// The first event as it was appended, for a retry.
    private func firstEvent(_ ledger: TestLedger) -> TestEvent {
        var found = TestEvent(id: "0")
        _ = try? ledger.log.record(at: .zero) { record in
            found = TestEvent(
                stream: record.subject.text, id: record.eventID.text, text: record.publicMembers.text)
        }
        return found
    }
}

extension SmallDisk {
    /// Takes all of the disk but `bytes`, until `free()`.
    func fill(leaving bytes: Int) throws {
        let descriptor = open(path + "/filler", O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        defer { close(descriptor) }
        var status = statvfs()
        try #require(fstatvfs(descriptor, &status) == 0)
        var size = Int(status.f_bfree) * Int(status.f_bsize)
        // An ext4 keeps up to a fiftieth for itself that counts as free. So: all that can be had, and then as much back.
        while size > 0, posix_fallocate(descriptor, 0, off_t(size)) != 0 { size -= 16 << 10 }
        try #require(size > bytes && ftruncate(descriptor, off_t(size - bytes)) == 0 && fsync(descriptor) == 0)
    }
}
