package import Ledger
import LMDB
import Synchronization

/// One read model: the build that answers, at times another that is built beside it, and who waits for them.
///
/// ```
///            events                      answers
///   log ------------> leads@1.3  ----------------->  queries
///    |                                   ^
///    +--------------> leads@1.4  - - - - +   takes over when it is whole and as far as the other,
///                                            and the directory of 1.3 goes
/// ```
///
/// Invariants:
/// - M1: answers never go back: a build takes over only at or beyond the progress of the one before, and while a commit is
///   published nobody takes over.
/// - M2: a build that is not in ACTIVE is one that never answered, or no longer does; the next start removes it.
final class ReadModel: Sendable {
    let type: any Projection.Type
    private let directory: String
    private let source: any EventSource
    private let batches: EventBatches
    private let configuration: ProjectionConfiguration
    private let actives: ActiveFile

    private struct State {
        var active: ModelWorker
        var rebuild = RebuildState.none
        var lastNumber: Int
        /// By token.
        var waiters: [UInt64: Waiter] = [:]
        var lastToken: UInt64 = 0
        var rebuildWaiters: [RebuildWaiter] = []
        /// Whether a build that broke was already replaced once without anybody asking.
        var hasMendedItself = false
        /// Another is about to be begun for that.
        var beginsRebuild = false
        var isStopping = false

        /// Whether what broke is being replaced, or will be in a moment.
        var isMending: Bool {
            if case .none = rebuild { return beginsRebuild || !hasMendedItself && !isStopping }
            return true
        }

        /// What answers reflect: nothing, while there is no build that answers.
        var answeredPosition: UInt64 {
            if case .broken = active.condition { return 0 }
            return active.build.isWhole.load(ordering: .acquiring)
                ? active.build.progress.load(ordering: .acquiring) : 0
        }
    }

    private enum RebuildState {
        case none
        case beingMade
        case running(ModelWorker)

        var worker: ModelWorker? {
            if case .running(let worker) = self { worker } else { nil }
        }
    }

    private struct Waiter {
        var position: UInt64
        /// True: it is there. False: nobody will tell.
        var body: @Sendable (Bool) -> Void
    }

    typealias RebuildWaiter = @Sendable (Result<Position, ProjectionError>) -> Void

    // Set once, right after the first worker has been made with hooks that lead here.
    private let state: Mutex<State?> = Mutex(nil)
    /// M1: held for each commit with its publishing, and for a switch.
    private let publishing = Mutex(())
    /// The log's end at which the first of the sleeping workers is worth ringing.
    private let wakesAt = Atomic<UInt64>(.max)
    /// The model's, whichever build answers.
    private let patience: Patience
    /// When the appender looks again whether the model is overdue.
    private let looksAt = Atomic<UInt64>(0)
    /// The lowest position that somebody waits for, or a lower one; changed with the lock on `state`.
    private let wanted = Atomic<UInt64>(.max)

    /// Opens the build that ACTIVE names, or begins the model's first.
    init(
        _ type: any Projection.Type, in directory: String, source: any EventSource, batches: EventBatches,
        configuration: ProjectionConfiguration, actives: ActiveFile
    ) throws(ProjectionError) {
        self.type = type
        self.directory = directory
        self.source = source
        self.batches = batches
        self.configuration = configuration
        self.actives = actives
        patience = Patience(configuration.patience)
        let known = actives[type.name]
        let number = known.map { $0.version == type.version ? $0.number : $0.number + 1 } ?? 1
        let build = try ModelBuild(type, number: number, in: directory, source: source, configuration: configuration)
        let worker = makeWorker(build)
        state.withLock { $0 = State(active: worker, lastNumber: number) }
        if known != build.name {
            do throws(FileError) { try actives.set(build.name) } catch { throw ProjectionError(error) }
        }
    }

    private func makeWorker(_ build: ModelBuild) -> ModelWorker {
        ModelWorker(
            build: build, target: source.end, source: source, batches: batches, patience: patience,
            configuration: configuration,
            hooks: ModelWorker.Hooks(
                sleepChanged: { [weak self] in
                    if let self { self.with { self.setWakesAt($0) } }
                },
                // The model stays until its workers have ended; weak, since it holds them.
                isActive: { [weak self] worker in self?.with { $0.active === worker } ?? false },
                isWanted: { [weak self] in self?.isWanted($0) ?? false },
                committing: { [weak self] body in try self?.publishing.withLock { _ in try body() } },
                afterTurn: { [weak self] in self?.turnEnded(of: $0) },
                onBroken: { [weak self] in self?.broke($0) },
                onStopped: { [weak self] in self?.stopped($0, because: $1) }))
    }

    /// The state is there from the end of `init` on.
    private func with<R, E: Error>(_ body: (inout State) throws(E) -> R) throws(E) -> R {
        try state.withLock { state throws(E) in
            guard state != nil else { preconditionFailure("a read model is used before it is made") }
            return try body(&state!)
        }
    }

    func start() throws(ProjectionError) { try with { $0.active }.start() }

    /// Tells everybody who waits, and who comes to wait, that it will not be.
    func endWaits() {
        let waiters = with { state in
            state.isStopping = true
            defer { state.waiters = [:] }
            return state.waiters.values
        }
        for waiter in waiters { waiter.body(false) }
        tellRebuildWaiters(.failure(stopping))
    }

    /// Has the threads end, and does not wait for it: `join()` does.
    func stop() {
        endWaits()
        for worker in workers { worker.stop() }
    }

    /// Waits for the end of the threads. After `stop()`; then, when no snapshot is open any more, `close()`.
    func join() {
        for worker in workers { worker.join() }
    }

    private var workers: [ModelWorker] { with { [$0.active, $0.rebuild.worker].compactMap { $0 } } }

    /// Closes cleanly, so that the next start believes the build. One that failed is left to the STATE rule.
    func close() {
        let (active, rebuild) = with { ($0.active, $0.rebuild.worker) }
        if case .broken = active.condition {
            active.build.cache.environment.close()
        } else {
            // An error leaves STATE open: kept within this boot, else made anew. Nothing is lost.
            try? active.build.cache.closeCleanly()
        }
        rebuild?.build.cache.environment.close()
    }

    /// The log has grown. Called by the appender after each commit, so it only looks, and seldom waits for a lock: one that a worker
    /// of low priority may hold.
    func notice(end: UInt64, now: UInt64) {
        if now >= looksAt.load(ordering: .relaxed) {
            looksAt.store(now + ProjectionLimits.overdueLookNanoseconds, ordering: .relaxed)
            let active = state.withLockIfAvailable { $0?.active } ?? nil
            active?.comeForwardIfOverdue(end: end, now: now)
        }
        guard end >= wakesAt.load(ordering: .sequentiallyConsistent) else { return }
        with { state in
            for worker in [state.active, state.rebuild.worker] {
                guard let worker, end >= worker.wakesAt.load(ordering: .relaxed) else { continue }
                // Once: it may take a while to wake up.
                worker.wakesAt.store(.max, ordering: .relaxed)
                worker.ring()
            }
            setWakesAt(state)
        }
    }

    private func setWakesAt(_ state: State) {
        let active = state.active.wakesAt.load(ordering: .relaxed)
        let rebuild = state.rebuild.worker?.wakesAt.load(ordering: .relaxed) ?? .max
        wakesAt.store(min(active, rebuild), ordering: .sequentiallyConsistent)
    }

    // MARK: Answering

    /// The build that answers.
    func answering() throws(ProjectionError) -> ModelBuild {
        let (active, rebuild) = with { ($0.active, $0.rebuild.worker) }
        var isBroken = false
        if case .broken = active.condition { isBroken = true }
        if active.build.isWhole.load(ordering: .acquiring), !isBroken { return active.build }
        let worker = isBroken ? rebuild ?? active : active
        throw ProjectionError(
            .rebuilding, worker.condition.reason ?? "the read model is being built from the log", model: type.name,
            progress: Position(rawValue: worker.build.progress.load(ordering: .relaxed)), target: worker.target)
    }

    /// Calls `body` once: with true when all events below `position` are in what answers, at once where they are; with false when
    /// the daemon stops.
    /// - Returns: what `cancelWait(_:)` takes.
    func whenReached(_ position: Position, _ body: @escaping @Sendable (Bool) -> Void) -> UInt64 {
        let (token, worker, isThere, isStopping) = with { state in
            state.lastToken += 1
            let isThere = state.answeredPosition >= position.rawValue
            if !isThere, !state.isStopping {
                state.waiters[state.lastToken] = Waiter(position: position.rawValue, body: body)
                wanted.store(min(wanted.load(ordering: .relaxed), position.rawValue), ordering: .releasing)
            }
            return (state.lastToken, state.active, isThere, state.isStopping)
        }
        if isThere || isStopping { body(isThere) } else { worker.hurry() }
        return token
    }

    func cancelWait(_ token: UInt64) {
        with { state in
            state.waiters[token] = nil
            // Too low, it brings one commit too early, after which it is right again: to look through all that wait, for each
            // of thousands whose time is over together, would take longer.
            if state.waiters.isEmpty { wanted.store(.max, ordering: .releasing) }
        }
    }

    private func isWanted(_ position: UInt64) -> Bool { wanted.load(ordering: .acquiring) <= position }

    private func turnEnded(of worker: ModelWorker) {
        switchIfReady(to: worker)
        guard wanted.load(ordering: .relaxed) != .max else { return }
        let reached = with { state -> [UInt64: Waiter] in
            let position = state.answeredPosition
            guard wanted.load(ordering: .relaxed) <= position else { return [:] }
            let reached = state.waiters.filter { $0.value.position <= position }
            for token in reached.keys { state.waiters[token] = nil }
            wanted.store(state.waiters.values.lazy.map(\.position).min() ?? .max, ordering: .releasing)
            return reached
        }
        // First come, first told.
        for (_, waiter) in reached.sorted(by: { $0.key < $1.key }) { waiter.body(true) }
    }

    // MARK: Rebuilding

    struct Rebuild {
        var from: Int
        var build: Int
        var target: Position
    }

    /// Begins a build beside the one that answers.
    ///
    /// - Parameter onEnd: told the position at which the new build took over, or why it did not.
    func rebuild(onEnd: RebuildWaiter? = nil) throws(ProjectionError) -> Rebuild {
        // 1. One at a time; one that came to nothing makes way.
        let (number, from, failed) = try with { state throws(ProjectionError) in
            guard !state.isStopping else { throw stopping }
            var failed: ModelWorker?
            switch state.rebuild {
            case .none: break
            case .running(let worker) where worker.condition.isOver: failed = worker
            case .beingMade, .running:
                throw ProjectionError(.rebuildRunning, "a rebuild is under way", model: type.name)
            }
            state.rebuild = .beingMade
            state.lastNumber += 1
            if let onEnd { state.rebuildWaiters.append(onEnd) }
            return (state.lastNumber, state.active.build.name.number, failed)
        }
        if let failed {
            failed.join()
            discard(failed.build)
        }
        // 2. Its environment, then its thread.
        do throws(ProjectionError) {
            let build = try ModelBuild(
                type, number: number, in: directory, source: source, configuration: configuration)
            let worker = makeWorker(build)
            let isStopping = with { state in
                state.rebuild = .running(worker)
                return state.isStopping
            }
            if isStopping { throw stopping }
            try worker.start()
            return Rebuild(from: from, build: number, target: worker.target)
        } catch {
            with { if !$0.isStopping { $0.rebuild = .none } }
            tellRebuildWaiters(.failure(error))
            throw error
        }
    }

    private var stopping: ProjectionError {
        ProjectionError(.stopping, "the daemon is stopping", model: type.name)
    }

    private func tellRebuildWaiters(_ outcome: Result<Position, ProjectionError>) {
        let waiters = with { state in
            defer { state.rebuildWaiters = [] }
            return state.rebuildWaiters
        }
        for waiter in waiters { waiter(outcome) }
    }

    /// M1: the build that is whole takes over where it has come as far as the one that answers.
    private func switchIfReady(to worker: ModelWorker) {
        guard worker.build.isWhole.load(ordering: .relaxed), with({ $0.rebuild.worker === worker }) else { return }
        let replaced: ModelWorker?
        do throws(FileError) {
            replaced = try publishing.withLock { _ throws(FileError) in
                let progress = worker.build.progress.load(ordering: .relaxed)
                let active = with { $0.active }
                guard progress >= active.build.progress.load(ordering: .relaxed) else { return nil }
                // The file first: after a crash between the two, the next start takes the new build.
                try actives.set(worker.build.name)
                with { state in
                    state.active = worker
                    state.rebuild = .none
                    state.hasMendedItself = false
                }
                return active
            }
        } catch {
            // Every turn tries again.
            return worker.pause(because: "it cannot take over: \(error)")
        }
        guard let replaced else { return }
        replaced.stop()
        replaced.join()
        discard(replaced.build)
        tellRebuildWaiters(.success(Position(rawValue: worker.build.progress.load(ordering: .relaxed))))
    }

    /// Removes what a build left; where that fails, the next start does it (M2).
    private func discard(_ build: ModelBuild) { try? build.remove() }

    /// The environment of a build has failed. If it was the one that answers, another is made, once without being asked.
    private func broke(_ worker: ModelWorker) {
        let mends = with { state in
            guard state.active === worker, !state.hasMendedItself, !state.isStopping else { return false }
            state.hasMendedItself = true
            state.beginsRebuild = true
            return true
        }
        if mends {
            // What speaks against it now, whoever asks for a rebuild is told.
            _ = try? rebuild()
            with { $0.beginsRebuild = false }
        } else {
            stopped(worker, because: worker.condition.reason ?? "")
        }
    }

    private func stopped(_ worker: ModelWorker, because reason: String) {
        guard with({ $0.rebuild.worker === worker }) else { return }
        tellRebuildWaiters(.failure(ProjectionError(.io, "the rebuild has stopped: \(reason)", model: type.name)))
    }

    // MARK: Status

    var status: ProjectionStatus {
        let (active, rebuild, isMending) = with { ($0.active, $0.rebuild.worker, $0.isMending) }
        let progress = active.build.progress.load(ordering: .acquiring)
        let end = source.end.rawValue
        let state: ProjectionStatus.State =
            switch active.condition {
            case .following: active.build.isWhole.load(ordering: .acquiring) ? .live : .rebuilding
            case .paused: .paused
            case .stopped: .stopped
            case .broken: isMending ? .rebuilding : .stopped
            }
        return ProjectionStatus(
            name: type.name, version: type.version, build: active.build.name.number, fingerprint: type.fingerprint,
            position: Position(rawValue: progress), lag: end > progress ? end - progress : 0, state: state,
            reason: active.condition.reason, origin: active.build.origin, rebuild: rebuild.map { RebuildStatus($0) })
    }
}

/// How a read model is.
package struct ProjectionStatus: Sendable {
    package enum State: String, Sendable { case live, rebuilding, paused, stopped }

    package var name: String
    package var version: Int
    package var build: Int
    package var fingerprint: String
    package var position: Position
    /// Events of the log that are not in yet.
    package var lag: UInt64
    package var state: State
    /// Why it is paused or stopped.
    package var reason: String?
    /// Whether it was found as it was left, or made anew when the daemon started.
    package var origin: CacheEnvironment.Origin
    package var rebuild: RebuildStatus?
}

package struct RebuildStatus: Sendable {
    package var build: Int
    package var position: Position
    package var target: Position
    /// Since it began; nil before the first commit.
    package var eventsPerSecond: Double?
    package var secondsLeft: Double?
    package var reason: String?

    init(_ worker: ModelWorker) {
        let progress = worker.build.progress.load(ordering: .acquiring)
        build = worker.build.name.number
        position = Position(rawValue: progress)
        target = worker.target
        reason = worker.condition.reason
        let seconds = Double(MonotonicClock.nanoseconds() - worker.startedAt) / 1e9
        guard progress > worker.startedFrom, seconds > 0 else { return }
        let rate = Double(progress - worker.startedFrom) / seconds
        eventsPerSecond = rate
        secondsLeft = target > position ? Double(target.rawValue - progress) / rate : 0
    }
}

/// The builds that answer, for all models: they share one file.
final class ActiveFile: Sendable {
    private let directory: String
    private let builds: Mutex<ActiveBuilds>

    init(in directory: String) throws(FileError) {
        self.directory = directory
        builds = Mutex(try ActiveBuilds(in: directory))
    }

    subscript(model: String) -> BuildName? { builds.withLock { $0[model] } }

    var names: [BuildName] { builds.withLock { $0.names } }

    func set(_ name: BuildName) throws(FileError) {
        try builds.withLock { builds throws(FileError) in
            var changed = builds
            changed.set(name)
            try changed.write(in: directory)
            builds = changed
        }
    }
}
