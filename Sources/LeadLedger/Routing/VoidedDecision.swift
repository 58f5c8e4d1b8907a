import JSON
import Leads
import Ledger

/// A `pool.decision_voided`: a turn that was given back.
struct VoidedDecision: Equatable {
    var position: Position
    /// Microseconds since 1970.
    var instant: Int64
    var recordedAt: Int64
    var decision: Position
    var reason: String

    /// Events of the pool that are looked at: those that disqualifications before this one caused, and were not written yet. By
    /// taste; the router writes them within moments.
    private static let lookedAtMax = 1_000

    /// Finds what a disqualification voided.
    ///
    /// It lies on the stream of its pool, behind its cause; causes come there in their order, since the router takes them so.
    ///
    /// - Parameters:
    ///   - decision: the `lead.assigned` that gave the turn, in `pool`.
    ///   - cause: the `lead.disqualified`.
    init?(of decision: Position, in pool: String, because cause: Position, log: EventLog) throws {
        let key = Array(pool.utf8).withUnsafeBytes { StreamKey(kind: StreamKind.pool.rawValue, subject: $0) }
        guard let stream = try log.stream(key), stream.last > cause else { return nil }
        // 1. The first version of the stream that lies behind the cause.
        var (low, high) = (UInt64(1), stream.version.rawValue)
        while low < high {
            let middle = low + (high - low) / 2
            let found = try log.positions(of: key, from: StreamVersion(rawValue: middle), limit: 1).first
            if let found, found <= cause { low = middle + 1 } else { high = middle }
        }
        // 2. From there on, up to one of a later cause.
        let reader = EventReader()
        for position in try log.positions(of: key, from: StreamVersion(rawValue: low), limit: Self.lookedAtMax) {
            let seen = try log.record(at: position) { record -> Seen in
                guard record.type == EventType.poolDecisionVoided.rawValue else { return .other }
                return try reader.withData(of: record) { data in
                    let voided = data["cause"]?.uint64
                    if let voided, voided > cause.rawValue { return .later }
                    guard voided == cause.rawValue, data["decision"]?.uint64 == decision.rawValue else { return .other }
                    return .found(
                        instant: record.instant, recordedAt: record.recordedAt, reason: data["reason"]?.string ?? "")
                }
            }
            switch seen {
            case .found(let instant, let recordedAt, let reason):
                self.position = position
                self.instant = instant
                self.recordedAt = recordedAt
                self.decision = decision
                self.reason = reason
                return
            case .later: return nil
            case .other, nil: continue
            }
        }
        return nil
    }

    private enum Seen {
        case found(instant: Int64, recordedAt: Int64, reason: String)
        case other
        case later
    }
}
