import Control
import JSON
import Leads
import Ledger

// ConsumerReplies: what is answered about consumer groups. See the article on the wire.

/// Deadlines are instants of the monotonic clock; people are shown what the daemon's clock will say then.
enum ConsumerTime {
    /// - Parameters:
    ///   - now: nanoseconds of the monotonic clock, as `wall` was read.
    ///   - wall: microseconds since 1970.
    static func wall(_ instant: UInt64, now: UInt64, wall: Int64) -> Instant? {
        let microseconds =
            instant >= now ? Int64(clamping: (instant - now) / 1_000) : -Int64(clamping: (now - instant) / 1_000)
        return Instant(microseconds: wall + microseconds)
    }
}

extension JSONWriter {
    mutating func token(_ token: LeaseToken) {
        key("token")
        beginObject()
        member("position", token.position)
        member("attempt", token.attempt)
        member("epoch", token.epoch)
        endObject()
    }

    private mutating func positions(_ name: StaticString, _ positions: [UInt64]) {
        key(name)
        beginArray()
        for position in positions { integer(position) }
        endArray()
    }

    mutating func consumerCreated(_ group: HeldGroup, head: UInt64, isNew: Bool) {
        beginObject()
        member("group", group.definition.name)
        member("created", isNew)
        member("epoch", group.machine.epoch)
        member("from", group.definition.from)
        member("progress", group.machine.progress)
        member("head", head)
        endObject()
    }

    mutating func consumerDeleted(_ name: String) {
        beginObject()
        member("group", name)
        member("deleted", true)
        endObject()
    }

    /// - Parameter body: writes the members of a delivery besides its token.
    mutating func consumerClaimed(
        _ deliveries: [ConsumerDelivery], progress: UInt64, head: UInt64,
        _ body: (inout JSONWriter, ConsumerDelivery) throws -> Void
    ) rethrows {
        beginObject()
        key("deliveries")
        beginArray()
        for delivery in deliveries {
            beginObject()
            token(delivery.token)
            try body(&self, delivery)
            endObject()
        }
        endArray()
        member("progress", progress)
        member("head", head)
        endObject()
    }

    mutating func consumerClaimedNothing(progress: UInt64, head: UInt64) {
        consumerClaimed([], progress: progress, head: head) { _, _ in }
    }

    /// The answer to `consumer.ack` and `consumer.nack`.
    mutating func consumerSettled(
        _ changes: [ConsumerChange], progress: UInt64, _ receipt: AppendReceipt?, of unit: AppendUnit?
    ) {
        var acked: [UInt64] = []
        var returned: [UInt64] = []
        var parked: [UInt64] = []
        for change in changes {
            switch change.kind {
            case .acked: acked.append(change.position)
            case .returned, .reopened: returned.append(change.position)
            case .parked: parked.append(change.position)
            }
        }
        beginObject()
        positions("acked", acked)
        positions("returned", returned)
        positions("parked", parked)
        member("progress", progress)
        if let receipt, let unit {
            key("appended")
            self.receipt(receipt, of: unit)
        }
        endObject()
    }

    mutating func consumerExtended(_ extended: [ConsumerDelivery], now: UInt64, wall: Int64) {
        beginObject()
        key("leases")
        beginArray()
        for delivery in extended {
            beginObject()
            member("position", delivery.token.position)
            member("attempt", delivery.token.attempt)
            member("deadline", ConsumerTime.wall(delivery.deadline, now: now, wall: wall))
            endObject()
        }
        endArray()
        endObject()
    }

    /// - Parameter parked: how many still are.
    mutating func consumerReplayed(_ replayed: [UInt64], parked: Int) {
        beginObject()
        positions("replayed", replayed)
        member("parked", parked)
        endObject()
    }
}

extension ErrorReply {
    /// A token that does not work, and what is current for its event.
    init(_ stale: StaleToken, epoch: UInt64) {
        let (word, text): (StaticString, String) =
            switch stale.standing {
            case .otherEpoch: ("other_epoch", "the token is of another epoch: the daemon or the group began anew since")
            case .leased(let attempt): ("leased", "the event is leased as attempt \(attempt)")
            case .settling(let attempt): ("storing", "what became of attempt \(attempt) is being stored")
            case .waiting(let attempt):
                ("waiting", "the lease is over, and the event waits to be claimed after attempt \(attempt)")
            case .done: ("done", "the event is done for this group")
            case .parked: ("parked", "the event is parked")
            case .notDelivered: ("not_delivered", "the event was not delivered")
            case .twice: ("twice", "the request names the event twice")
            }
        self.init(
            .staleToken, "position \(stale.token.position): \(text)", at: .params("/tokens/\(stale.index)"),
            members: { writer in
                writer.member("position", stale.token.position)
                writer.member("attempt", stale.token.attempt)
                writer.key("current")
                writer.beginObject()
                writer.key("state")
                writer.string(word.description)
                switch stale.standing {
                case .leased(let attempt), .settling(let attempt), .waiting(let attempt):
                    writer.member("attempt", attempt)
                default: break
                }
                writer.member("epoch", epoch)
                writer.endObject()
            })
    }

    static var queueFull: ErrorReply { .tryAgain("the log's queue is full; nothing was stored") }

    static func tryAgain(_ message: String) -> ErrorReply {
        ErrorReply(.busy, message, retryAfterMilliseconds: Int(Limits.consumerRetryMilliseconds))
    }
}
