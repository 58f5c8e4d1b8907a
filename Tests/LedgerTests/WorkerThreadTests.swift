import Glibc
import Synchronization
import Testing

@testable import Ledger

@Suite(.timeLimit(.minutes(10))) struct WorkerThreadTests {
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

    /// A thread that steps back, and does and tells what it is asked.
    private final class Asked: Sendable {
        enum Order: Int32 { case tell, stepBack, stepBackHurried, end }

        private let order = Atomic<Int32>(0)
        private let asked = Doorbell()
        private let answered = Doorbell()
        private let policy = Atomic<Int32>(-1)
        private let nice = Atomic<Int32>(-1)
        private let thread = Mutex<WorkerThread?>(nil)

        init(forward: Int, otherwise: WorkerThread.Priority) throws {
            let started = try WorkerThread.start(
                "priority", priority: .steppingBack(forward: forward, otherwise: otherwise)
            ) { [unowned self] in run() }
            thread.withLock { $0 = started }
        }

        private func run() {
            while true {
                asked.wait()
                switch Order(rawValue: order.load(ordering: .acquiring)) {
                case .stepBack: thread.withLock { $0 }?.stepBack { false }
                case .stepBackHurried: thread.withLock { $0 }?.stepBack { true }
                case .end: return
                default: break
                }
                policy.store(sched_getscheduler(0), ordering: .releasing)
                nice.store(getpriority(Int32(PRIO_PROCESS.rawValue), 0), ordering: .releasing)
                answered.ring()
            }
        }

        /// The policy, and the nice value, that it has then.
        @discardableResult
        func ask(_ order: Order) -> (policy: Int32, nice: Int32) {
            self.order.store(order.rawValue, ordering: .releasing)
            asked.ring()
            answered.wait()
            return (policy.load(ordering: .acquiring), nice.load(ordering: .acquiring))
        }

        func comeForward() { thread.withLock { $0 }?.comeForward() }

        func end() {
            order.store(Order.end.rawValue, ordering: .releasing)
            asked.ring()
            thread.withLock { $0 }?.join()
        }
    }

    // SCHED_IDLE and the common policy; where it may not cease to be idle SCHED_BATCH throughout.
    private let back: Int32 = WorkerThread.mayCeaseToBeIdle ? 5 : 3
    private let forward: Int32 = WorkerThread.mayCeaseToBeIdle ? SCHED_OTHER : 3

    @Test func `a thread that steps back comes forward when it is called, and goes back unless somebody is in a hurry`()
        throws
    {
        let thread = try Asked(forward: 0, otherwise: .nice(7))
        #expect(thread.ask(.tell).policy == back)
        for _ in 0..<3 {
            thread.comeForward()
            #expect(thread.ask(.tell).policy == forward)
            thread.comeForward()
            #expect(thread.ask(.stepBackHurried).policy == forward)
            #expect(thread.ask(.stepBack).policy == back)
        }
        thread.end()
    }

    @Test func `a thread that is called before it is there comes forward`() throws {
        for _ in 0..<300 {
            let thread = try Asked(forward: 0, otherwise: .nice(7))
            thread.comeForward()
            #expect(thread.ask(.tell).policy == forward)
            thread.end()
        }
    }

    /// The lock is nobody's for long, though a thread that goes back holds it when it does.
    @Test func `calls and steps back at once leave it as the last one says`() throws {
        let thread = try Asked(forward: 0, otherwise: .nice(7))
        for _ in 0..<300 {
            let caller = try WorkerThread.start("caller") { for _ in 0..<20 { thread.comeForward() } }
            for _ in 0..<20 { thread.ask(.stepBack) }
            caller.join()
            thread.comeForward()
            #expect(thread.ask(.tell).policy == forward)
            #expect(thread.ask(.stepBack).policy == back)
        }
        thread.end()
    }

    @Test func `forward it has the nice value that it was to have, as far as it may`() throws {
        let before = getpriority(Int32(PRIO_PROCESS.rawValue), 0)
        let mayHaveMore = setpriority(Int32(PRIO_PROCESS.rawValue), 0, before - 3) == 0
        if mayHaveMore { setpriority(Int32(PRIO_PROCESS.rawValue), 0, before) }
        let thread = try Asked(forward: Int(before) - 3, otherwise: .nice(7))
        thread.comeForward()
        let nice = thread.ask(.tell).nice
        #expect(nice == (!WorkerThread.mayCeaseToBeIdle ? 7 : mayHaveMore ? before - 3 : before))
        thread.end()
    }
}
