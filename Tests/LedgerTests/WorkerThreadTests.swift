import Glibc
import Synchronization
import Testing

@testable import Ledger

@Suite struct WorkerThreadTests {
    /// Policy and nice value, as the kernel has them of a thread started so.
    private func seen(_ priority: WorkerThread.Priority) throws -> [Int32] {
        let seen = Mutex<[Int32]>([])
        let thread = try WorkerThread.start("priority", priority: priority) {
            let found = [sched_getscheduler(0), getpriority(Int32(PRIO_PROCESS.rawValue), 0)]
            seen.withLock { $0 = found }
        }
        thread.join()
        return seen.withLock { $0 }
    }

    @Test func `a thread has the priority that it was started with, and others keep theirs`() throws {
        let before = [sched_getscheduler(0), getpriority(Int32(PRIO_PROCESS.rawValue), 0)]
        #expect(try seen(.idle) == [5, before[1]])
        #expect(try seen(.nice(10)) == [3, 10])
        #expect(try seen(.normal) == before)
        #expect([sched_getscheduler(0), getpriority(Int32(PRIO_PROCESS.rawValue), 0)] == before)
    }
}
