import Control
import JSON
import Ledger

// Subscription: one reader that follows the log over a connection: catch-up in order, a `caught_up` mark, then live.
//
//   credit > 0, output below the high-water mark, something new
//        |                                                        loop
//        v                                                        ----
//   read a slice on a reader thread: leaf-checked, filtered, encoded, copied out, its transaction ended
//        |                                                        reader thread
//        v
//   `log.events` written; credit taken; the next slice when the channel is writable
//                                                                 loop
//
// What must hold:
//   S1  events leave in position order, none skipped: `next` moves only to where a slice ended;
//   S2  no more events leave than credit was granted;
//   S3  at most one slice is in flight, and no read transaction is open while the socket blocks.

/// Lives on its connection's event loop and is touched nowhere else.
struct Subscription {
    let id: UInt64
    let filter: EventFilter
    /// The position the next slice starts at: all before it was sent or did not match.
    var next: Position
    var credit: Int
    var isReading = false
    var saidCaughtUp = false
    /// When it last sent something: nanoseconds of the monotonic clock.
    var saidAt: UInt64

    init(id: UInt64, from: Position, filter: EventFilter, credit: Int, now: UInt64) {
        self.id = id
        self.next = from
        self.filter = filter
        self.credit = credit
        saidAt = now
    }

    /// What to do now, given where the log ends.
    enum Step: Equatable {
        case read(from: Position, limit: Int)
        case sayCaughtUp
        case rest
    }

    mutating func step(end: Position) -> Step {
        if isReading { return .rest }
        if next < end {
            guard credit > 0 else { return .rest }
            isReading = true
            return .read(from: next, limit: credit)
        }
        if saidCaughtUp { return .rest }
        saidCaughtUp = true
        return .sayCaughtUp
    }

    /// Takes in a slice that was read.
    mutating func took(_ slice: SubscriptionSlice) {
        isReading = false
        next = slice.next
        credit -= slice.count
    }
}

/// A piece of the log for one subscription: the parameters of a `log.events` notification, or nothing that matched.
struct SubscriptionSlice: Sendable {
    var parameters: [UInt8]
    var count: Int
    var next: Position

    /// Reads at most `limit` matching events and about 64 KiB of them. Runs on a reader thread.
    static func read(
        _ log: EventLog, subscription: UInt64, from: Position, limit: Int, filter: EventFilter
    ) throws -> SubscriptionSlice {
        var writer = JSONWriter(reserving: Limits.notificationBytesMax + 4_096)
        writer.beginObject()
        writer.key("subscription")
        writer.integer(subscription)
        writer.key("events")
        writer.beginArray()
        var count = 0
        let next = try log.read(from: from, limit: 10_000, maxBytes: .max) { record in
            if filter.matches(record) {
                writer.cloudEvent(record)
                count += 1
            }
            return count < limit && writer.bytes.count < Limits.notificationBytesMax
        }
        writer.endArray()
        writer.member("next", next.rawValue)
        writer.endObject()
        return SubscriptionSlice(parameters: count > 0 ? writer.take() : [], count: count, next: next)
    }
}
