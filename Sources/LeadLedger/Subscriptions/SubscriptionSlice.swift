import Control
import Ledger
import NIOCore

/// A piece of the log for one subscription: lines of `log.events`, or nothing that matched.
///
/// ```
/// {"jsonrpc":"2.0","method":"log.events","params":{"subscription":1,"events":[{..},{..}],"next":812}}
/// ```
///
/// A line takes up to 64 KiB, and a slice is several of them, since it costs two hops between threads.
struct SubscriptionSlice: Sendable {
    private(set) var lines: ByteBuffer
    /// Events in them.
    private(set) var count = 0
    /// Where the next slice starts.
    private(set) var next: Position

    /// Whether it ended because it holds enough: more may follow at once.
    var isFull: Bool { lines.readableBytes >= Limits.sliceBytesMax }

    private let subscription: UInt64
    private var encoder = CloudEventEncoder()
    /// Where in `lines` the open line begins; nil between lines.
    private var lineStart: Int?

    /// Bytes of a fresh buffer: a slice, and the event that ends it.
    private static let bufferBytes = Limits.sliceBytesMax + Limits.notificationBytesMax
    /// `],"next":18446744073709551615}}` and a newline, generously.
    private static let lineEndBytes = 64

    /// Reads at most `limit` matching events and about 192 KiB of them. Runs on a reader thread.
    ///
    /// - Parameter buffer: memory to use again; what is in it is dropped. nil makes some.
    static func read(
        _ log: EventLog, subscription: UInt64, from: Position, limit: Int, filter: EventFilter,
        into buffer: consuming ByteBuffer? = nil
    ) throws -> SubscriptionSlice {
        var slice = SubscriptionSlice(subscription, from, buffer)
        do {
            slice.next = try log.read(from: from, limit: .max, maxBytes: .max) { record in
                if filter.matches(record) { slice.append(record) }
                slice.next = Position(rawValue: record.position.rawValue + 1)
                return slice.count < limit && slice.lines.readableBytes < Limits.sliceBytesMax
            }
        } catch {
            // What was read before an event that is not what was stored is sent all the same; the next slice begins at that
            // event, and throws.
            guard slice.next > from else { throw error }
        }
        slice.endLine(next: slice.next)
        return slice
    }

    private init(_ subscription: UInt64, _ from: Position, _ buffer: consuming ByteBuffer?) {
        self.subscription = subscription
        next = from
        lines = buffer ?? ByteBuffer()
        lines.clear(minimumCapacity: Self.bufferBytes)
    }

    private mutating func append(_ record: RecordView) {
        let bytesMax = encoder.bytesMax(of: record)
        if let start = lineStart {
            if lines.writerIndex - start + bytesMax + Self.lineEndBytes > Limits.notificationBytesMax {
                // All before this event was sent or did not match.
                endLine(next: record.position)
                beginLine()
            } else {
                lines.writeInteger(UInt8(ascii: ","))
            }
        } else {
            beginLine()
        }
        lines.writeWithUnsafeMutableBytes(minimumWritableBytes: bytesMax) { place in
            place.baseAddress.map { encoder.write(record, to: $0) } ?? 0
        }
        count += 1
    }

    private mutating func beginLine() {
        lineStart = lines.writerIndex
        lines.writeStaticString(#"{"jsonrpc":"2.0","method":""#)
        lines.writeStaticString(NotificationName.logEvents)
        lines.writeStaticString(#"","params":{"subscription":"#)
        lines.writeString(String(subscription))
        lines.writeStaticString(#","events":["#)
    }

    private mutating func endLine(next: Position) {
        guard lineStart != nil else { return }
        lineStart = nil
        lines.writeStaticString(#"],"next":"#)
        lines.writeString(String(next.rawValue))
        lines.writeStaticString("}}\n")
    }
}
