import Glibc
import Synchronization
import Testing

@testable import Ledger

/// A full disk (T6) at 65 levels of free space around the sizes of commits, on a tmpfs and on an ext4: 50 with space that is only
/// allocated, 15 with space that is written ahead. Appends are refused and nothing else happens; reading goes on; with room again
/// appends are taken, without a restart; a start on the full disk opens, or says why.
@Suite(.serialized, .enabled(if: SmallDisk.canMount, "mounting needs root")) struct DiskFullTests {
    /// Steps of 64 KiB are only allocated; those of 1 MiB are written ahead by a thread.
    @Test(arguments: SmallDisk.Kind.allCases, [(64 << 10, 50), (1 << 20, 15)])
    func `at every level of free space appends are refused cleanly and taken again when there is room`(
        kind: SmallDisk.Kind, space: (step: Int, levels: Int)
    ) throws {
        let disk = try SmallDisk(kind, bytes: space.step > 64 << 10 ? 128 << 20 : 48 << 20, below: "/dev/shm")
        var configuration = LogConfiguration.test
        configuration.spaceStepBytes = space.step
        try fillUp(disk, kind.rawValue, levels: space.levels, configuration)
    }

    /// The control: a log that finds out at its commit that there is no room, as one would that did not see to it before.
    @Test func `a log that meets the full disk at its commit is found`() throws {
        let disk = try SmallDisk(.tmpfs, bytes: 48 << 20, below: "/dev/shm")
        let (path, commits) = (disk.path, CommitCount())
        var configuration = LogConfiguration.test
        configuration.faults = LogFaults { point in
            guard point == .commit else { return nil }
            commits.number.add(1, ordering: .relaxed)
            var status = statvfs()
            return statvfs(path, &status) == 0 && Int(status.f_bavail) * Int(status.f_bsize) < 64 << 10 ? ENOSPC : nil
        }
        let found = #expect(throws: NotHeld.self) { try fillUp(disk, "planted", levels: 10, configuration) }
        print("DiskFullTests: planted, \(found?.description ?? "nothing found")")
        #expect(commits.number.load(ordering: .relaxed) > 0)
    }

    private final class CommitCount: Sendable { let number = Atomic<Int>(0) }

    private struct NotHeld: Error, CustomStringConvertible { let description: String }

    private func hold(_ holds: Bool, _ otherwise: @autoclosure () -> String) throws {
        if !holds { throw NotHeld(description: otherwise()) }
    }

    /// - Throws: `NotHeld` for the first thing that is not as it must be.
    private func fillUp(_ disk: SmallDisk, _ what: String, levels: Int, _ configuration: LogConfiguration) throws {
        let step = configuration.spaceStepBytes
        let folder = LedgerFolder(at: disk.path + "/data")
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
                try hold(receipt.first.rawValue == UInt64(stored) && !receipt.isDuplicate, "\(receipt) after \(stored)")
                stored += count
                return true
            }
            try hold(outcome.refusal == .diskFull, "after \(stored) events: \(outcome)")
            refusals += 1
            return false
        }
        for level in 0..<levels {
            // A group asks for 256 KiB and twice its bytes, in steps: from nothing to beyond a few of them.
            try disk.fill(leaving: level * 14_321 * step / (64 << 10))
            var taken = 0
            while taken < 2_000, try append() { taken += 1 }
            try hold(taken < 2_000, "level \(level) never filled up")
            // The index asks for room, too, and may give some back: what matters is that each is taken whole or refused.
            for _ in 0..<3 { _ = try append() }

            let open = try #require(ledger)
            try hold(!open.log.isPoisoned, "level \(level): the log is poisoned")
            try hold(open.log.end.rawValue == UInt64(stored), "level \(level): the log ends at \(open.log.end)")
            if stored > 0 {
                let last = try open.log.record(at: position(UInt64(stored - 1))) { $0.eventID.text }
                try hold(last == "\(stored - 1)", "level \(level): the last event is \(last ?? "none")")
                let repeated = open.append(firstEvent(open))
                try hold(repeated.receipt?.isDuplicate == true, "level \(level): a repetition got \(repeated)")
            }
            if level % 10 == 5 {
                // A start on the full disk.
                open.close()
                ledger = nil
                startsOnFullDisk += 1
                var isRefusedCleanly = true
                do throws(LedgerError) { ledger = try TestLedger(folder, configuration) } catch {
                    isRefusedCleanly = error.kind == .diskFull
                    refusedStarts += 1
                }
                try hold(isRefusedCleanly, "level \(level): a start was refused for another reason")
                if let ledger {
                    try hold(
                        ledger.log.end.rawValue == UInt64(stored) && ledger.log.indexOrigin == .kept,
                        "level \(level): a start found \(ledger.log.end)")
                    _ = try append()
                }
            }
            try disk.free()
            if ledger == nil { ledger = try TestLedger(folder, configuration) }
            let isTaken = try append()
            try hold(isTaken, "level \(level): refused with room")
        }
        print(
            "DiskFullTests: \(what), steps of \(step >> 10) KiB, \(levels) levels, \(refusals) refusals, \(stored) events, "
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
        try hold(again.log.end.rawValue == UInt64(stored), "the log ends at \(again.log.end)")
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
