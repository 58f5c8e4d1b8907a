import Control
import JSON
import Ledger
import Projections

// ProjectionQueries: `projection.list` and `projection.rebuild`.

struct ProjectionList: Query {
    init(_ params: JSONValue?) throws(QueryFault) {}

    func write(to writer: inout JSONWriter, from context: QueryContext) throws {
        writer.beginObject()
        writer.member("head", context.log.end.rawValue)
        writer.key("projections")
        writer.beginArray()
        for status in context.models.status { writer.projection(status) }
        writer.endArray()
        writer.endObject()
    }
}

/// Begins a rebuild, which makes files: off the event loop, like a query.
struct ProjectionRebuild: Query {
    private let name: String

    init(_ params: JSONValue?) throws(QueryFault) {
        guard let name = params?["name"]?.string else {
            throw QueryFault(.missingField, "name is required", pointer: "/name")
        }
        self.name = name
    }

    func write(to writer: inout JSONWriter, from context: QueryContext) throws {
        let started = try context.models.rebuild(name)
        writer.rebuild(name, started, position: nil)
    }
}

extension JSONWriter {
    fileprivate mutating func projection(_ status: ProjectionStatus) {
        beginObject()
        member("name", status.name)
        member("version", status.version)
        member("build", status.build)
        member("fingerprint", status.fingerprint)
        member("position", status.position.rawValue)
        member("lag", status.lag)
        member("state", status.state.rawValue)
        member("reason", status.reason)
        member("origin", status.origin.word)
        key("rebuild")
        if let rebuild = status.rebuild {
            beginObject()
            member("build", rebuild.build)
            member("position", rebuild.position.rawValue)
            member("target", rebuild.target.rawValue)
            member("events_per_second", rebuild.eventsPerSecond.map { Int($0) })
            member("seconds_left", rebuild.secondsLeft.map { Int($0.rounded(.up)) })
            member("reason", rebuild.reason)
            endObject()
        } else {
            null()
        }
        endObject()
    }

    /// The result of `projection.rebuild`.
    ///
    /// - Parameter position: where the new build took over; nil while it has not.
    mutating func rebuild(_ name: String, _ started: ReadModelSet.StartedRebuild, position: Position?) {
        beginObject()
        member("name", name)
        member("from_build", started.fromBuild)
        member("build", started.build)
        member("target", started.target.rawValue)
        member("position", position?.rawValue)
        endObject()
    }
}
