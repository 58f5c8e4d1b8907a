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

    @Test func `a thread that steps back comes forward when it is called, and goes back unless somebody is in a hurry`()
        throws
    {
        let order = Doorbell()
        let answer = Doorbell()
        let policy = Atomic<Int32>(-1)
        let isOver = Atomic<Bool>(false)
        let thread = try WorkerThread.start("priority", priority: .steppingBack(otherwise: .nice(7))) {
            while !isOver.load(ordering: .acquiring) {
                order.wait()
                policy.store(sched_getscheduler(0), ordering: .releasing)
                answer.ring()
            }
        }
        func seen() -> Int32 {
            order.ring()
            answer.wait()
            return policy.load(ordering: .acquiring)
        }
        let may = WorkerThread.mayCeaseToBeIdle
        // SCHED_IDLE and back; where that is not allowed SCHED_BATCH throughout.
        let (back, forward): (Int32, Int32) = may ? (5, SCHED_OTHER) : (3, 3)
        #expect(seen() == back)
        for _ in 0..<3 {
            thread.comeForward()
            #expect(seen() == forward)
            thread.comeForward()
            #expect(seen() == forward)
            thread.stepBack { true }
            #expect(seen() == forward)
            thread.stepBack { false }
            #expect(seen() == back)
        }
        isOver.store(true, ordering: .releasing)
        order.ring()
        thread.join()
    }
}
