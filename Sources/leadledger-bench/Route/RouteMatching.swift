/// What became of each capture, and when: sent, acknowledged, its decision delivered. All instants are of the monotonic clock of the one
/// thread that does all three.
struct RouteMatching {
    let count: Int
    /// The first so many are not in the histograms: they meet a daemon that has just started.
    let warmUp: Int

    // By the capture's number; 0 where it has not happened.
    private var sentAt: [UInt64]
    private var acknowledgedAt: [UInt64]
    private var deliveredAt: [UInt64]
    private var isQueued: [Bool]

    private(set) var acknowledged = 0
    private(set) var assigned = 0
    private(set) var queued = 0
    /// Of the queued, those that were assigned later.
    private(set) var drained = 0
    /// Decisions that were read before the acknowledgement of their capture: they count as no time after it.
    private(set) var early = 0

    private(set) var acknowledgement = LatencyHistogram()
    private(set) var afterAcknowledgement = LatencyHistogram()
    private(set) var afterSending = LatencyHistogram()

    init(count: Int, warmUp: Int = 0) {
        self.count = count
        self.warmUp = warmUp
        sentAt = Array(repeating: 0, count: count)
        acknowledgedAt = Array(repeating: 0, count: count)
        deliveredAt = Array(repeating: 0, count: count)
        isQueued = Array(repeating: false, count: count)
    }

    var decided: Int { assigned + queued }
    var isAcknowledged: Bool { acknowledged == count }
    var isDecided: Bool { decided == count }

    mutating func sent(_ number: Int, at instant: UInt64) { sentAt[number] = instant }

    mutating func acknowledged(_ number: Int, at instant: UInt64) throws(BenchError) {
        guard 0..<count ~= number, sentAt[number] > 0, acknowledgedAt[number] == 0 else {
            throw BenchError("an acknowledgement of capture \(number), which does not wait for one")
        }
        acknowledgedAt[number] = instant
        acknowledged += 1
        if number >= warmUp { acknowledgement.record(nanoseconds: instant - sentAt[number]) }
        if deliveredAt[number] > 0 { measure(number) }
    }

    mutating func delivered(_ number: Int, isAssigned: Bool, at instant: UInt64) throws(BenchError) {
        guard 0..<count ~= number, sentAt[number] > 0 else {
            throw BenchError("a decision on capture \(number), which was not sent")
        }
        guard deliveredAt[number] == 0 else {
            guard isAssigned, isQueued[number] else { throw BenchError("a second decision on capture \(number)") }
            isQueued[number] = false
            drained += 1
            return
        }
        deliveredAt[number] = instant
        isQueued[number] = !isAssigned
        if isAssigned { assigned += 1 } else { queued += 1 }
        if acknowledgedAt[number] > 0 { measure(number) }
    }

    /// Both are known, in whichever order they came.
    private mutating func measure(_ number: Int) {
        guard number >= warmUp else { return }
        let (acknowledged, delivered) = (acknowledgedAt[number], deliveredAt[number])
        if delivered < acknowledged { early += 1 }
        afterAcknowledgement.record(nanoseconds: delivered > acknowledged ? delivered - acknowledged : 0)
        afterSending.record(nanoseconds: delivered - sentAt[number])
    }
}
