import Control
import Ledger
import NIOCore
import Projections
import Yams

// Configuration: what an operator may set, from flags over the file over the defaults. The file is YAML; a key that is not
// known is refused by name and line, because a setting that is silently ignored is a setting that lies.

/// The daemon's settings. Sizes are bytes, times milliseconds or seconds as the name says.
package struct Configuration: Sendable, Equatable {
    /// The directory that holds the ledger.
    package var dataDirectory: String
    /// The Unix socket's path; `DATA/ledger.sock` unless told otherwise.
    package var socketPath: String
    /// Whether read models follow the log. Without, appending and reading the log are all that the daemon does.
    package var hasModels = true
    /// Allows tmpfs and small allocation steps, for tests.
    package var isTest = false

    /// Address space of the log's map: the most it can ever hold. Sparse, so it costs nothing.
    package var logMapBytes: UInt64 = 4 << 40
    /// Address space of the index's and of each read model's map.
    package var cacheMapBytes: UInt64 = 256 << 30
    /// How far file space is allocated ahead of the last used page.
    package var allocationStepBytes: UInt64 = 64 << 20
    /// How much of the log's space is written ahead while nothing is appended.
    package var spaceReserveBytes = UInt64(LogConfiguration().spaceReserveBytes)
    /// Events after which the index commits, and the longest it waits.
    package var indexCommitEvents = LogConfiguration().indexCommitEvents
    package var indexCommitMilliseconds = 2_000
    /// Events after which a read model commits, and the longest it waits.
    package var modelCommitEvents = ProjectionLimits.commitEventsMax
    package var modelCommitMilliseconds = 200
    /// How far the read models step back: 0 to 19 as nice does, 20 for what nobody else wants.
    package var modelNice = Self.niceIdle
    private static let niceIdle = 20
    /// Event loops that serve connections: half of the processors, since the appender needs one as much as they do, but at least
    /// two: one then reads and answers while the other waits for its turn. 50 connections, one at a time, got 66,100 to
    /// 70,400 events/s from two and 58,200 to 62,600 from one, in three runs in turns; bursts were alike.
    package var eventLoops = min(max(System.coreCount / 2, 2), Limits.eventLoopsMax)
    /// Connections in all.
    package var connectionsMax = 256
    /// Seconds after which an idle connection is closed; 0 = never.
    package var idleSeconds = 3_600

    package init(dataDirectory: String, socketPath: String? = nil, isTest: Bool = false) {
        self.dataDirectory = dataDirectory
        self.socketPath = socketPath ?? dataDirectory + "/ledger.sock"
        self.isTest = isTest
        if isTest {
            allocationStepBytes = 64 << 10
            // Tests wait for read models on machines that other tests keep busy.
            modelNice = 0
        }
    }
}

// What each part of the daemon takes from the settings.
extension Configuration {
    var log: LogConfiguration {
        var log = LogConfiguration()
        log.logMapBytes = Int(logMapBytes)
        log.indexMapBytes = Int(cacheMapBytes)
        log.spaceStepBytes = Int(allocationStepBytes)
        log.spaceReserveBytes = Int(spaceReserveBytes)
        log.indexCommitEvents = indexCommitEvents
        log.indexCommitInterval = .milliseconds(indexCommitMilliseconds)
        // Tests wait for it on machines that other tests keep busy.
        log.indexStepsBack = !isTest
        log.mayUseTmpfs = isTest
        return log
    }

    var projections: ProjectionConfiguration {
        var projections = ProjectionConfiguration()
        projections.hasModels = hasModels
        projections.mapBytes = Int(cacheMapBytes)
        projections.spaceStepBytes = Int(allocationStepBytes)
        projections.commitEvents = modelCommitEvents
        projections.commitInterval = .milliseconds(modelCommitMilliseconds)
        projections.priority =
            modelNice == 0
            ? .normal : modelNice < Self.niceIdle ? .nice(modelNice) : ProjectionLimits.steppingBack
        projections.mayUseTmpfs = isTest
        return projections
    }

    var wire: WireLimits {
        var wire = WireLimits()
        // Room is left for an operator to look.
        wire.connectionsPerUserMax = max(1, connectionsMax - (wire.connectionsMax - wire.connectionsPerUserMax))
        wire.connectionsMax = connectionsMax
        // A hundred years are never.
        wire.idleTimeMax = .seconds(idleSeconds == 0 ? 3_155_760_000 : idleSeconds)
        return wire
    }
}

/// A configuration file that cannot be used: where, what, and what would do.
package struct ConfigurationError: Error, CustomStringConvertible, Equatable {
    package var place: String
    package var reason: String
    package var description: String { "\(place): \(reason)" }

    package init(place: String, reason: String) {
        self.place = place
        self.reason = reason
    }
}

extension Configuration {
    /// The settings that a file may hold, by their key in it.
    private static let integerKeys:
        [(key: String, range: ClosedRange<UInt64>, set: @Sendable (inout Self, UInt64) -> Void)] = [
            ("log_map_bytes", 1 << 20...1 << 46, { $0.logMapBytes = $1 }),
            ("cache_map_bytes", 1 << 20...1 << 44, { $0.cacheMapBytes = $1 }),
            ("allocation_step_bytes", 64 << 10...1 << 30, { $0.allocationStepBytes = $1 }),
            ("space_reserve_bytes", 0...1 << 40, { $0.spaceReserveBytes = $1 }),
            (
                "index_commit_events", 1...UInt64(LedgerLimits.indexTransactionEventsMax),
                { $0.indexCommitEvents = Int($1) }
            ),
            ("index_commit_ms", 1...60_000, { $0.indexCommitMilliseconds = Int($1) }),
            ("model_commit_events", 1...UInt64(ProjectionLimits.commitEventsMax), { $0.modelCommitEvents = Int($1) }),
            ("model_commit_ms", 1...60_000, { $0.modelCommitMilliseconds = Int($1) }),
            ("model_nice", 0...UInt64(niceIdle), { $0.modelNice = Int($1) }),
            ("event_loops", 1...UInt64(Limits.eventLoopsMax), { $0.eventLoops = Int($1) }),
            ("connections", 1...4_096, { $0.connectionsMax = Int($1) }),
            ("idle_seconds", 0...86_400, { $0.idleSeconds = Int($1) }),
        ]

    /// Takes over what the YAML text `text` of the file at `path` sets.
    ///
    /// - Throws: `ConfigurationError` for text that is not a YAML mapping, an unknown key, a key twice, or a value outside
    ///   its range. The process then ends with exit code 78.
    package mutating func apply(yaml text: String, path: String) throws(ConfigurationError) {
        let document: Node?
        do { document = try Yams.compose(yaml: text) } catch {
            throw ConfigurationError(place: path, reason: "is not YAML: \(error)")
        }
        guard let document else { return }
        guard case .mapping(let mapping) = document else {
            throw ConfigurationError(
                place: path, reason: "holds no mapping of settings; write lines like `event_loops: 2`")
        }
        var seen: Set<String> = []
        for (keyNode, valueNode) in mapping {
            let line = keyNode.mark.map { ":\($0.line)" } ?? ""
            let key = keyNode.string ?? ""
            if !seen.insert(key).inserted {
                throw ConfigurationError(place: path + line, reason: "`\(key)` stands twice")
            }
            guard let entry = Self.integerKeys.first(where: { $0.key == key }) else {
                let known = Self.integerKeys.map(\.key).joined(separator: ", ")
                throw ConfigurationError(place: path + line, reason: "unknown setting `\(key)`; known are \(known)")
            }
            guard let scalar = valueNode.scalar?.string, let value = UInt64(scalar), entry.range.contains(value) else {
                throw ConfigurationError(
                    place: path + line,
                    reason: "`\(key)` takes a whole number from \(entry.range.lowerBound) to \(entry.range.upperBound)")
            }
            entry.set(&self, value)
        }
    }
}
