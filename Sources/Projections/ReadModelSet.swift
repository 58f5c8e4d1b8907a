import Glibc
package import Ledger
import LMDB

/// All read models of a ledger, each following the log on a thread and in an environment of its own.
///
/// ```swift
/// let models = try ReadModelSet.open(directory: data, source: log, configuration: .init())
/// let row = try models.snapshot(LeadsProjection.self).lead(key)
/// let token = try models.whenReached(position, in: "leads") { ... }
/// models.stop()       // the threads end
/// models.close()      // when no snapshot is open any more
/// ```
package final class ReadModelSet: Sendable {
    private let models: [ReadModel]
    private let source: any EventSource
    private let listener: UInt64

    /// Opens or makes what is in `DATA/models` and starts the threads.
    ///
    /// Builds that do not answer are removed: what a rebuild that was cut short has left.
    package static func open(
        directory: String, source: any EventSource, configuration: ProjectionConfiguration = ProjectionConfiguration()
    ) throws(ProjectionError) -> ReadModelSet {
        let path = directory + "/models"
        let actives: ActiveFile
        do throws(FileError) {
            guard mkdir(path, 0o700) == 0 || errno == EEXIST else {
                throw FileError(operation: "create", path: path, code: errno)
            }
            try DurableFiles.sync(directory)
            try DurableFiles.sweepLeftovers(in: path)
            actives = try ActiveFile(in: path)
        } catch { throw ProjectionError(error) }

        let batches = EventBatches(source: source, eventsMax: configuration.commitEvents)
        var models: [ReadModel] = []
        for type in configuration.hasModels ? ReadModels.all : [] {
            models.append(
                try ReadModel(
                    type, in: path, source: source, batches: batches, configuration: configuration, actives: actives))
        }
        do throws(FileError) {
            let answering = Set(actives.names.filter { ReadModels.named($0.model) != nil })
            for name in try DurableFiles.names(in: path).compactMap({ BuildName($0) }) where !answering.contains(name) {
                try DurableFiles.removeDirectory(path + "/\(name)")
            }
        } catch { throw ProjectionError(error) }
        do throws(ProjectionError) { for model in models { try model.start() } } catch {
            stop(models)
            for model in models { model.close() }
            throw error
        }
        return ReadModelSet(models: models, source: source)
    }

    private init(models: [ReadModel], source: any EventSource) {
        self.models = models
        self.source = source
        listener = source.onAppend { end in
            let now = MonotonicClock.nanoseconds()
            for model in models { model.notice(end: end.rawValue, now: now) }
        }
    }

    /// - Throws: what a snapshot of the model would throw while it cannot answer.
    package func requireAnswers(of name: String) throws(ProjectionError) { _ = try model(name).answering() }

    /// Tells everybody who waits that it will not be. Before `stop()`, where those who are told need time.
    package func endWaits() {
        for model in models { model.endWaits() }
    }

    /// All are told before one is waited for, which may wait for what another reads.
    private static func stop(_ models: [ReadModel]) {
        for model in models { model.stop() }
        for model in models { model.join() }
    }

    /// Ends the threads.
    package func stop() {
        source.removeOnAppend(listener)
        Self.stop(models)
    }

    /// Closes cleanly. Every snapshot must have ended.
    package func close() {
        for model in models { model.close() }
    }

    package func hasModel(_ name: String) -> Bool { models.contains { $0.type.name == name } }

    private func model(_ name: String) throws(ProjectionError) -> ReadModel {
        guard let model = models.first(where: { $0.type.name == name }) else {
            throw ProjectionError(
                .unknownModel,
                models.isEmpty ? "this daemon runs without read models" : "no read model is called \(name)")
        }
        return model
    }

    // MARK: Reading

    /// A read model at one position: the newest that it has.
    package func snapshot<Model: Projection>(_: Model.Type) throws(ProjectionError) -> Snapshot<Model> {
        let build = try model(Model.name).answering()
        guard let projection = build.projection as? Model else {
            preconditionFailure("the model \(Model.name) is of another type")
        }
        do throws(LMDBError) { return try Snapshot(projection, of: build) } catch {
            throw ProjectionError(error, model: Model.name)
        }
    }

    /// SHA-256 over what the model holds, and the position it reflects: the same on any machine.
    package func digest(of name: String) throws -> (position: Position, digest: [UInt8]) {
        let build = try model(name).answering()
        let transaction = try build.cache.environment.beginRead()
        let progress = try ModelBuild.number("progress", build.meta, in: transaction) ?? 0
        let digest = try ModelDigest.compute(build.type.tableNames, build.tables, progress: progress, in: transaction)
        return (Position(rawValue: progress), digest)
    }

    /// Calls `body` once, on the model's thread or this one: with true when all events below `position` are in its answers, with
    /// false when the set is being stopped.
    /// - Returns: what `cancelWait(_:in:)` takes.
    package func whenReached(
        _ position: Position, in name: String, _ body: @escaping @Sendable (Bool) -> Void
    ) throws(ProjectionError) -> UInt64 {
        try model(name).whenReached(position, body)
    }

    package func cancelWait(_ token: UInt64, in name: String) {
        models.first { $0.type.name == name }?.cancelWait(token)
    }

    // MARK: Care

    package struct StartedRebuild: Sendable {
        package var fromBuild: Int
        package var build: Int
        package var target: Position
    }

    /// Begins to build a model anew beside the one that answers.
    /// - Parameter onEnd: told, on some thread, the position at which it took over, or why it did not.
    package func rebuild(
        _ name: String, onEnd: (@Sendable (Result<Position, ProjectionError>) -> Void)? = nil
    ) throws(ProjectionError) -> StartedRebuild {
        let started = try model(name).rebuild(onEnd: onEnd)
        return StartedRebuild(fromBuild: started.from, build: started.build, target: started.target)
    }

    package var status: [ProjectionStatus] { models.map(\.status) }
}
