import Ledger

// Subscription: one reader that follows the log over a connection: catch-up in order, a `caught_up` mark, then live.
//
//   credit > 0, room in the output, something new
//        |                                                        loop
//        v                                                        ----
//   read a slice on a reader thread: leaf-checked, filtered, encoded, copied out, its transaction ended; up to three of them,
//        |                                                        while they are full and credit is left
//        v                                                        reader thread
//   credit taken; after the last, the next reading begun, if there is still room; `log.events` written while that is read
//                                                                 loop
//
//                    nothing left                held back, and more than `Limits.fellBehindEvents` left
//   catching up ----------------------> live ------------------------------------------------------> catching up
//                 log.caught_up                            log.fell_behind
//
// What must hold:
//   S1  events leave in position order, none skipped: `next` moves only to where a slice ended;
//   S2  no more events leave than credit was granted;
//   S3  at most one reading, of at most `Limits.slicesAtOnceMax` slices, is on its way, and for a connection as many as it may
//       have subscriptions, those that have ended meanwhile included; none is begun while the output is full, and no read
//       transaction is open while the socket blocks: a subscription keeps at most these slices beyond what its connection's
//       output may hold;
//   S4  every notification names a position from which a subscription gives exactly the rest.

/// Lives on its connection's event loop and is touched nowhere else.
struct Subscription {
    let id: UInt64
    let filter: EventFilter
    /// The position the next slice starts at: all before it was sent or did not match.
    private(set) var next: Position
    private(set) var credit: Int
    private(set) var isReading = false
    /// Said to be caught up, and not to have fallen behind since.
    private(set) var isLive = false
    /// When it last sent something: nanoseconds of the monotonic clock.
    private(set) var saidAt: UInt64
    /// Events that were looked at since, and did not match.
    private var scannedSilently: UInt64 = 0

    init(id: UInt64, from: Position, filter: EventFilter, credit: Int, now: UInt64) {
        self.id = id
        self.next = from
        self.filter = filter
        self.credit = credit
        saidAt = now
    }

    /// What to do now.
    enum Step: Equatable {
        case read(from: Position, limit: Int)
        case sayCaughtUp
        case sayFellBehind
        case rest
    }

    /// - Parameters:
    ///   - end: where the log ends.
    ///   - hasRoom: whether more output is welcome.
    mutating func step(end: Position, hasRoom: Bool) -> Step {
        if isReading { return .rest }
        if next >= end {
            guard hasRoom, !isLive else { return .rest }
            isLive = true
            return .sayCaughtUp
        }
        if credit > 0, hasRoom {
            isReading = true
            return .read(from: next, limit: credit)
        }
        // Held back, by its credit or by a client that does not read.
        guard isLive, end.rawValue - next.rawValue > Limits.fellBehindEvents else { return .rest }
        isLive = false
        return .sayFellBehind
    }

    /// Takes in a slice that was read.
    /// - Parameter isReading: whether the next one is being read already.
    mutating func took(next: Position, count: Int, isReading: Bool = false) {
        self.isReading = isReading
        scannedSilently = count > 0 ? 0 : scannedSilently + (next.rawValue - self.next.rawValue)
        self.next = next
        credit -= count
    }

    /// A slice could not be read for now.
    mutating func tookNothing() { isReading = false }

    /// - Returns: the credit there is now.
    mutating func grant(_ events: Int) -> Int {
        credit = min(credit, Int.max / 2) + events
        return credit
    }

    mutating func said(at now: UInt64) {
        saidAt = now
        scannedSilently = 0
    }

    /// Whether it was silent for so long, or over so many events, that it should say where it is.
    func owesHeartbeat(at now: UInt64) -> Bool {
        scannedSilently >= Limits.heartbeatEvents
            || now >= saidAt && now - saidAt >= UInt64(Limits.heartbeatSeconds) * 1_000_000_000
    }
}
