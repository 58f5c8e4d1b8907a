import Control
import JSON
import Leads
import Ledger
import Projections

// StatusQuery: `status`: how the daemon is.

struct StatusQuery {
    let context: QueryContext
    let format: LedgerFormat
    let startedAt: UInt64
    let connections: @Sendable () -> Int
    let routing: @Sendable () -> RoutingStatus

    func write(to writer: inout JSONWriter) {
        let status = context.log.status
        writer.beginObject()
        writer.member("version", Version.current)
        writer.member("ledger", context.log.ledgerID.description)
        writer.member("format", format.format)
        writer.member("created", format.created)
        writer.member("uptime_seconds", (MonotonicClock.nanoseconds() - startedAt) / 1_000_000_000)
        writer.member("head", status.end.rawValue)
        writer.member("last_recordedtime", status.lastRecordedAt.map { Instant(microseconds: $0) })
        writer.member("poisoned", status.isPoisoned)
        // Format 0 holds personal members unsealed.
        writer.member("personal_data", "clear")
        writer.key("index")
        writer.beginObject()
        writer.member("position", status.indexProgress.rawValue)
        writer.member("origin", context.log.indexOrigin.word)
        writer.member("paused_because", status.indexPausedBecause)
        writer.endObject()
        writer.key("tail")
        writer.beginObject()
        writer.member("events", status.tailEvents)
        writer.member("max", status.tailEventsMax)
        writer.endObject()
        writer.key("queue")
        writer.beginObject()
        writer.member("units", status.queueUnits)
        writer.member("bytes", status.queueBytes)
        writer.endObject()
        writer.key("routing")
        writer.routingStatus(routing())
        writer.member("connections", connections())
        writer.member("readers_in_use", status.readersInUse)
        writer.key("log")
        writer.beginObject()
        writer.member("used_bytes", status.logUsedBytes)
        writer.member("map_bytes", status.logMapBytes)
        writer.endObject()
        writer.key("projections")
        writer.beginArray()
        for model in context.models.status {
            writer.beginObject()
            writer.member("name", model.name)
            writer.member("position", model.position.rawValue)
            writer.member("lag", model.lag)
            writer.member("state", model.state.rawValue)
            writer.endObject()
        }
        writer.endArray()
        writer.endObject()
    }
}
