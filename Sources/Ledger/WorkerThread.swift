import Glibc
import Synchronization

/// A thread of our own, for work that blocks: it has no place on the cooperative pool.
// Sendable: the handle is set before `start` returns, and read by `join` alone.
package final class WorkerThread: @unchecked Sendable {
    private var handle = pthread_t()
    /// The kernel's id of it; 0 before it runs, -1 when it has ended. Unlike the handle it may be used at any time.
    private let kernelID = Atomic<Int32>(0)
    /// Whether it may be called forward, and go back.
    private let stepsBack: Bool
    /// Whether it runs only where nobody else would. Of no meaning unless it steps back; changed with `changing` held.
    private let isIdle = Atomic<Bool>(true)
    private let changing = Mutex(())

    private init(stepsBack: Bool) { self.stepsBack = stepsBack }

    private final class Body {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    package enum Priority: Sendable {
        case normal
        /// Steps back as `nice` says, 1 to 19, and interrupts nobody when it wakes (SCHED_BATCH).
        case nice(Int)
        /// Runs where nobody else would (SCHED_IDLE). The kernel wakes other threads onto a processor that runs only such ones as
        /// if it were free, which nice values do not bring about. Who waits for a lock of such a thread leaves it a processor,
        /// and on a machine that others keep busy there may be none to leave.
        case idle
        /// Begins as `idle` does, and comes forward when it is called (`comeForward()`): then it runs with this nice value, below 0
        /// to get more than others, as far as that is allowed. Where it could not be called forward, which takes a right
        /// (`mayCeaseToBeIdle`), it begins as `otherwise` says and stays so.
        indirect case steppingBack(forward: Int = 0, otherwise: Priority)
    }

    // SCHED_BATCH and SCHED_IDLE of <linux/sched.h>, which Swift's Glibc does not show.
    private static let batchPolicy: Int32 = 3
    private static let idlePolicy: Int32 = 5

    /// Sets the calling thread's priority, but for the stepping back. To lower it is allowed to everybody.
    private static func setOwn(_ priority: Priority) {
        // 0 is the calling thread.
        var parameters = sched_param()
        switch priority {
        case .normal: break
        case .nice(let nice):
            sched_setscheduler(0, batchPolicy, &parameters)
            setpriority(Int32(PRIO_PROCESS.rawValue), 0, Int32(nice))
        case .idle: sched_setscheduler(0, idlePolicy, &parameters)
        case .steppingBack(let nice, let otherwise):
            guard mayCeaseToBeIdle else { return setOwn(otherwise) }
            // It counts while the policy is the common one. Where it is refused the value stays, and with it the way back.
            if nice != 0 { setpriority(Int32(PRIO_PROCESS.rawValue), 0, Int32(nice)) }
        }
    }

    /// Starts `run` on a new thread called `name` (at most 15 bytes).
    package static func start(
        _ name: String, priority: Priority = .normal, _ run: @escaping @Sendable () -> Void
    ) throws(LedgerError) -> WorkerThread {
        let stepsBack = if case .steppingBack = priority { mayCeaseToBeIdle } else { false }
        let thread = WorkerThread(stepsBack: stepsBack)
        let body = Unmanaged.passRetained(
            Body {
                setName(name)
                setOwn(priority)
                let id = ownKernelID()
                // Nobody can call it, so it does not go back, and nobody should think that it did.
                if id < 0 { thread.isIdle.store(false, ordering: .releasing) }
                thread.kernelID.store(id, ordering: .sequentiallyConsistent)
                defer { thread.kernelID.store(-1, ordering: .sequentiallyConsistent) }
                // Unless it was called forward before it was there.
                if thread.mayStepBack {
                    thread.changing.withLock { _ in if thread.isIdle.load(ordering: .acquiring) { thread.goBack() } }
                }
                run()
            })
        let code = pthread_create(
            &thread.handle, nil,
            { argument in
                guard let argument else { return nil }
                Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run()
                return nil
            }, body.toOpaque())
        guard code == 0 else {
            body.release()
            throw LedgerError(.io, "the \(name) thread cannot start: \(String(cString: strerror(code)))")
        }
        return thread
    }

    /// For `top -H` and debuggers; glibc's call for it is not visible from Swift.
    private static func setName(_ name: String) {
        let descriptor = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        _ = write(descriptor, name, name.utf8.count)
        close(descriptor)
    }

    /// The kernel's id of the calling thread, which is the last name in `PID/task/TID`; Glibc's call for it is not visible from Swift
    /// either. -1, as of one that has ended, where `/proc` does not say.
    private static func ownKernelID() -> Int32 {
        var link = [CChar](repeating: 0, count: 64)
        let count = readlink("/proc/thread-self", &link, link.count)
        guard count > 0 else { return -1 }
        let name = String(decoding: link[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return name.split(separator: "/").last.flatMap { Int32($0) } ?? -1
    }

    /// Waits for its end. Once.
    package func join() { pthread_join(handle, nil) }

    /// Has the thread run as others do from now on, or as its priority says it runs forward. From any thread, at any time; without
    /// effect on one that does not step back, or has ended.
    package func comeForward() {
        guard stepsBack else { return }
        // A thread that goes back holds the lock when it does, and would then get no processor to let go of it.
        while changing.withLockIfAvailable({ _ in bringForward() }) == nil {
            _ = ceaseToBeIdle()
            sched_yield()
        }
    }

    private func bringForward() {
        if isIdle.load(ordering: .acquiring) { isIdle.store(!ceaseToBeIdle(), ordering: .releasing) }
    }

    /// - Returns: whether it runs as others do now, or will from its beginning on.
    private func ceaseToBeIdle() -> Bool {
        let id = kernelID.load(ordering: .sequentiallyConsistent)
        guard id > 0 else { return id == 0 }
        var parameters = sched_param()
        return sched_setscheduler(id, SCHED_OTHER, &parameters) == 0
    }

    /// Has the calling thread, which is this one, run only where nobody else would, unless somebody is in a hurry: who is says so
    /// before calling `comeForward()`, so that it is seen here or called after.
    package func stepBack(unless isHurried: () -> Bool) {
        guard mayStepBack else { return }
        changing.withLock { _ in if !isIdle.load(ordering: .acquiring), !isHurried() { goBack() } }
    }

    /// On the thread itself.
    private func goBack() {
        var parameters = sched_param()
        isIdle.store(sched_setscheduler(0, Self.idlePolicy, &parameters) == 0, ordering: .releasing)
    }

    /// Whether it does not step back, or has come forward. It may just have changed.
    package var isForward: Bool { !stepsBack || !isIdle.load(ordering: .acquiring) }

    /// Not where nobody could call it forward again.
    private var mayStepBack: Bool { stepsBack && kernelID.load(ordering: .relaxed) > 0 }

    /// Whether a thread that has become idle may become one like others again: root may, and whoever has RLIMIT_NICE at 20 or more.
    /// Found out by a thread that tries.
    package static let mayCeaseToBeIdle: Bool = {
        final class Answer: Sendable {
            let isYes = Atomic<Bool>(false)
        }
        let answer = Answer()
        let thread = try? start("priority", priority: .idle) {
            var parameters = sched_param()
            answer.isYes.store(sched_setscheduler(0, SCHED_OTHER, &parameters) == 0, ordering: .relaxed)
        }
        thread?.join()
        return answer.isYes.load(ordering: .relaxed)
    }()
}

/// Wakes one thread that waits. It rings until somebody has waited; more rings before that make no difference.
// Sendable: `isRung` is touched only under `mutex`.
package final class Doorbell: @unchecked Sendable {
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let condition: UnsafeMutablePointer<pthread_cond_t>
    private var isRung = false

    package init() {
        mutex = .allocate(capacity: 1)
        mutex.initialize(to: pthread_mutex_t())
        pthread_mutex_init(mutex, nil)
        condition = .allocate(capacity: 1)
        condition.initialize(to: pthread_cond_t())
        // The monotonic clock: the other one may be set back.
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(condition, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(condition)
        condition.deallocate()
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    package func ring() {
        pthread_mutex_lock(mutex)
        isRung = true
        pthread_mutex_unlock(mutex)
        pthread_cond_signal(condition)
    }

    package func wait() {
        pthread_mutex_lock(mutex)
        while !isRung { pthread_cond_wait(condition, mutex) }
        isRung = false
        pthread_mutex_unlock(mutex)
    }

    /// Waits for a ring, at most so long.
    package func wait(nanoseconds: UInt64) { wait(until: MonotonicClock.nanoseconds() + nanoseconds) }

    /// Waits for a ring, at most until an instant of the monotonic clock.
    package func wait(until end: UInt64) {
        var deadline = timespec(tv_sec: Int(end / 1_000_000_000), tv_nsec: Int(end % 1_000_000_000))
        pthread_mutex_lock(mutex)
        while !isRung, pthread_cond_timedwait(condition, mutex, &deadline) != ETIMEDOUT {}
        isRung = false
        pthread_mutex_unlock(mutex)
    }
}

/// Time for deadlines: since some start, never set back.
package enum MonotonicClock {
    package static func nanoseconds() -> UInt64 {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
    }
}

extension Duration {
    package var nanoseconds: UInt64 {
        let (seconds, attoseconds) = components
        return UInt64(max(seconds, 0)) * 1_000_000_000 + UInt64(max(attoseconds, 0) / 1_000_000_000)
    }
}
