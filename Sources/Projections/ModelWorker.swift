import Ledger
import Synchronization

/// The thread that keeps one build of a read model up to the log.
///
/// It sleeps until the log has something new, lets events gather until a batch is full, the interval is over or somebody
/// waits, in a ``Rush`` until it is over or somebody calls, takes them in with one transaction, and goes on. What goes wrong:
///
/// | what | then |
/// |---|---|
/// | the disk or the map is full, all readers are lent | paused: tries again every second; nothing is lost |
/// | an event that cannot be projected, a log that is not what was stored | stopped at that position, with the reason |
/// | the environment fails | broken: not believed any more, `onBroken` begins another build |
final class ModelWorker: Sendable {
    enum Condition: Equatable, Sendable {
        case following
        case paused(String)
        case stopped(String)
        case broken(String)

        /// The worker has ended and does not come back.
        var isOver: Bool {
            switch self {
            case .following, .paused: false
            case .stopped, .broken: true
            }
        }

        var reason: String? {
            switch self {
            case .following: nil
            case .paused(let reason), .stopped(let reason), .broken(let reason): reason
            }
        }
    }

    /// What the model does around a worker's work. Called on the worker's thread.
    struct Hooks: Sendable {
        /// `wakesAt` has changed.
        var sleepChanged: @Sendable () -> Void
        /// Whether its build is the one that answers, or will when it is whole.
        var isActive: @Sendable (ModelWorker) -> Bool
        /// Whether somebody waits for the events below this position.
        var isWanted: @Sendable (UInt64) -> Bool
        /// Runs the commit and the publishing of its progress.
        var committing: @Sendable (() throws -> Void) throws -> Void
        /// After each turn, whether or not it took anything in.
        var afterTurn: @Sendable (ModelWorker) -> Void
        var onBroken: @Sendable (ModelWorker) -> Void
        /// It has stopped for good, for another reason than being told to.
        var onStopped: @Sendable (ModelWorker, String) -> Void
    }

    let build: ModelBuild
    /// The position at which the build is whole.
    let target: Position
    let startedAt = MonotonicClock.nanoseconds()
    let startedFrom: UInt64
    private let source: any EventSource
    private let batches: EventBatches
    private let configuration: ProjectionConfiguration
    private let hooks: Hooks
    private let doorbell = Doorbell()
    private let isStopping = Atomic<Bool>(false)
    /// The log's end at which it is worth ringing; `.max` while the worker is awake.
    let wakesAt = Atomic<UInt64>(.max)
    private let state = Mutex(Condition.following)
    private let follower = EventBatches.Follower()
    private let patience: Patience

    init(
        build: ModelBuild, target: Position, source: any EventSource, batches: EventBatches, patience: Patience,
        configuration: ProjectionConfiguration, hooks: Hooks
    ) {
        self.build = build
        self.target = target
        self.source = source
        self.batches = batches
        self.patience = patience
        self.configuration = configuration
        self.hooks = hooks
        startedFrom = build.progress.load(ordering: .relaxed)
    }

    var condition: Condition { state.withLock { $0 } }

    func start() throws(ProjectionError) {
        do throws(LedgerError) {
            let started = try WorkerThread.start(build.name.model, priority: configuration.priority) { self.run() }
            follower.thread.withLock { $0 = started }
        } catch { throw ProjectionError(.io, error.description, model: build.name.model) }
    }

    /// Has it end after the transaction that is open.
    func stop() {
        isStopping.store(true, ordering: .releasing)
        batches.callForward(follower)
        doorbell.ring()
    }

    /// Waits for its end. Not on its own thread.
    func join() {
        let ended = follower.thread.withLock { thread in
            defer { thread = nil }
            return thread
        }
        ended?.join()
    }

    func ring() { doorbell.ring() }

    /// Has it run as others do where it has been behind for too long. A build that answers nobody may be as late as it will.
    func comeForwardIfOverdue(end: UInt64, now: UInt64) {
        guard build.isWhole.load(ordering: .relaxed) else { return }
        guard patience.isOver(progress: build.progress.load(ordering: .relaxed), end: end, now: now) else { return }
        // It may stand still for a rush.
        let isCalled = !follower.isForward
        batches.callForward(follower)
        if isCalled { doorbell.ring() }
    }

    /// Somebody waits for it. Nobody can for long for a build that does not answer yet: it goes on as before.
    func hurry() {
        if build.isWhole.load(ordering: .relaxed) { batches.callForward(follower) }
        doorbell.ring()
    }

    private func stepBack() {
        follower.thread.withLock { $0 }?.stepBack {
            isStopping.load(ordering: .acquiring) || hooks.isWanted(source.end.rawValue)
        }
    }

    /// For what goes on trying although its work is done. Following ends it.
    func pause(because reason: String) { state.withLock { $0 = .paused(reason) } }

    // MARK: The thread

    private func run() {
        let scratch = ProjectionScratch()
        batches.join(follower)
        defer { batches.leave(follower) }
        let interval = configuration.commitInterval.nanoseconds
        let batchEvents = UInt64(max(1, min(configuration.commitEvents, ProjectionLimits.commitEventsMax)))
        // When the oldest event that waits was first seen.
        var waitingSince: UInt64?
        while !isStopping.load(ordering: .acquiring) {
            hooks.afterTurn(self)
            // A build that does not answer was called with others, if at all.
            let isWhole = build.isWhole.load(ordering: .relaxed)
            if !isWhole { stepBack() }
            // 1. Sleep while there is nothing to do, or too little.
            let progress = build.progress.load(ordering: .relaxed)
            let end = source.end.rawValue
            let now = MonotonicClock.nanoseconds()
            if end <= progress {
                waitingSince = nil
                sleep(untilEnd: progress + 1, or: now + ProjectionLimits.sleepNanoseconds)
                continue
            }
            let since = waitingSince ?? now
            waitingSince = since
            // Who comes to wait from now on calls and rings.
            let isWanted = hooks.isWanted(end)
            if isWhole, !isWanted, end - progress < batchEvents, now < since + interval {
                sleep(untilEnd: progress + batchEvents, or: since + interval)
                continue
            }

            // Others look too, but not while nobody appends, or before this worker was the one that answers.
            if hooks.isActive(self) {
                comeForwardIfOverdue(end: end, now: now)
                if isWhole, isWanted { batches.callForward(follower) }
            }

            // In a rush it waits for its end, or to be called.
            if let rushEnd = source.rushEnd(after: now), !follower.isForward, !(isWhole && isWanted) {
                sleep(untilEnd: .max, or: rushEnd)
                continue
            }

            // 2. Not far ahead of the others, so that events are read once for all.
            follower.position.store(progress, ordering: .relaxed)
            follower.answers.store(isWhole, ordering: .relaxed)
            follower.isMoving.store(true, ordering: .relaxed)
            waitForCompany(until: now + ProjectionLimits.companyNanosecondsMax)

            // 3. Follow.
            do throws(ModelBuild.FollowError) {
                _ = try build.follow(
                    ModelBuild.Batch(
                        source: source, batches: batches, follower: follower, scratch: scratch,
                        eventsMax: Int(batchEvents), nestedEvents: configuration.nestedEvents,
                        nanosecondsMax: interval, wholeAt: target.rawValue, faults: configuration.faults,
                        isWanted: hooks.isWanted,
                        committing: hooks.committing))
                waitingSince = nil
                state.withLock { if $0 != .following { $0 = .following } }
            } catch {
                guard goesOn(after: error) else { return }
            }
        }
    }

    private func waitForCompany(until end: UInt64) {
        while batches.isAhead(follower), !hooks.isWanted(source.end.rawValue), !isStopping.load(ordering: .acquiring) {
            let now = MonotonicClock.nanoseconds()
            guard now < end else { return }
            doorbell.wait(until: min(end, now + ProjectionLimits.companyStepNanoseconds))
        }
    }

    /// Sleeps until the log's end is `untilEnd`, until an instant, or until somebody rings.
    private func sleep(untilEnd: UInt64, or instant: UInt64) {
        follower.isMoving.store(false, ordering: .relaxed)
        stepBack()
        wakesAt.store(untilEnd, ordering: .sequentiallyConsistent)
        hooks.sleepChanged()
        // An append between the look at the end and these lines rang nobody.
        if source.end.rawValue < untilEnd { doorbell.wait(until: instant) }
        wakesAt.store(.max, ordering: .sequentiallyConsistent)
        hooks.sleepChanged()
    }

    private func goesOn(after error: ModelBuild.FollowError) -> Bool {
        follower.isMoving.store(false, ordering: .relaxed)
        switch error {
        case .pause(let reason):
            state.withLock { $0 = .paused(reason) }
            stepBack()
            // Rings for new events say nothing about the disk.
            let end = MonotonicClock.nanoseconds() + ProjectionLimits.pauseNanoseconds
            while !isStopping.load(ordering: .acquiring), MonotonicClock.nanoseconds() < end {
                doorbell.wait(until: end)
            }
            return true
        case .badEvent(let position, let reason):
            stopped("the event at position \(position) cannot be projected: \(reason)")
        case .brokenLog(let position, let reason):
            stopped(position.map { "the log cannot be read at position \($0): \(reason)" } ?? reason)
        case .broken(let reason):
            state.withLock { $0 = .broken(reason) }
            build.distrust()
            hooks.onBroken(self)
        }
        return false
    }

    private func stopped(_ reason: String) {
        state.withLock { $0 = .stopped(reason) }
        hooks.onStopped(self, reason)
        hooks.afterTurn(self)
    }
}
