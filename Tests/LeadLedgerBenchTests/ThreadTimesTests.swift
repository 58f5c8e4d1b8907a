import Glibc
import Testing

@testable import leadledger_bench

@Suite struct ThreadTimesTests {
    @Test func `the daemon's threads are told apart by their names`() {
        let names = [
            ("NIO-ELT-0-#1", "event loops"), ("appender", "appender"), ("index", "index"), ("leads", "read models"),
            ("queue", "read models"), ("funnel", "read models"), ("attribution", "read models"), ("TP-#0", "readers"),
            ("leadledgerd", "others"), ("", "others"),
        ]
        for (name, group) in names { #expect(ThreadTimes.group(of: name) == group) }
        #expect(Set(names.map(\.1)) == Set(ThreadTimes.groups))
    }

    @Test func `time that a thread takes is counted, and what was before is not`() throws {
        let before = try ThreadTimes(of: getpid())
        let start = threadNanoseconds()
        var random = RandomBits(state: 1)
        var sum: UInt64 = 0
        while threadNanoseconds() - start < 20_000_000 { sum &+= random.next() }
        let taken = try ThreadTimes(of: getpid()).since(before)
        let total = taken.nanoseconds.values.reduce(0, +)
        // The scheduler's count lags by a tick at most.
        #expect(total >= 10_000_000, "\(sum)")
        #expect(throws: BenchError.self) { try ThreadTimes(of: pid_t.max) }
    }
}
