// Where a lead stands: what the appender must know to accept or refuse the next event, in the 8 bytes of the index entry.
//
// Invariants (a state that `Lifecycle.evolve` returned keeps them; `invariantBroken` names the one that does not hold):
//   one-custody         A lead in an open stage has exactly one custody that is not `none`.
//   ended-is-free       A lead in any other stage has custody `none`.
//   memory-is-minimal   A field that remembers something is zero unless the stage or custody it was made for can still come
//                       back, so that equal situations have equal bytes.
//   zero-is-unknown     No state is 0: an index entry of zeros is no lead.

/// How far a lead has come. The first eight are open, in their order; the raw values are on disk.
package enum Stage: UInt8, CaseIterable, Comparable, Sendable {
    case captured = 1
    case mql = 2
    case offered = 3
    case accepted = 4
    case working = 5
    case contacted = 6
    case qualified = 7
    case opportunity = 8
    // 9 and 10 are left for open stages to come, which would have to be the last.
    case won = 11
    case lost = 12
    case disqualified = 13
    case merged = 14
    case erased = 15

    /// The open stages, from first to last.
    package static let open: [Stage] = [
        .captured, .mql, .offered, .accepted, .working, .contacted, .qualified, .opportunity,
    ]

    @inlinable
    package var isOpen: Bool { rawValue <= Stage.opportunity.rawValue }

    /// won, lost or disqualified: ended, but still a lead of its own.
    @inlinable
    package var isEnded: Bool { rawValue >= Stage.won.rawValue && rawValue <= Stage.disqualified.rawValue }

    @inlinable
    package static func < (left: Stage, right: Stage) -> Bool { left.rawValue < right.rawValue }

    package var name: String {
        switch self {
        case .captured: "captured"
        case .mql: "mql"
        case .offered: "offered"
        case .accepted: "accepted"
        case .working: "working"
        case .contacted: "contacted"
        case .qualified: "qualified"
        case .opportunity: "opportunity"
        case .won: "won"
        case .lost: "lost"
        case .disqualified: "disqualified"
        case .merged: "merged"
        case .erased: "erased"
        }
    }

    package init?(name: String) {
        guard let found = Stage.allCases.first(where: { $0.name == name }) else { return nil }
        self = found
    }
}

/// Who has a lead. The raw values are on disk.
package enum Custody: UInt8, CaseIterable, Sendable {
    /// The lead has ended.
    case none = 0
    /// Nobody has decided yet.
    case inbox = 1
    case queue = 2
    case leased = 3
    case owner = 4
    case nurture = 5

    package var name: String {
        switch self {
        case .none: "none"
        case .inbox: "inbox"
        case .queue: "queue"
        case .leased: "leased"
        case .owner: "owner"
        case .nurture: "nurture"
        }
    }

    package init?(name: String) {
        guard let found = Custody.allCases.first(where: { $0.name == name }) else { return nil }
        self = found
    }
}

/// The state, packed as it lies in the index entry (there little-endian, as LMDB pages are on all machines we run on).
///
///     bits    size  field
///      0...3     4  stage
///      4...7     4  stage before the offer: where `rejected` goes back to; 0 unless offered now, or before the end or merge
///      8..11     4  stage before the end: where `reopened` goes back to; 0 unless won, lost, disqualified (or merged since)
///     12..15     4  stage before the merge; 0 unless merged
///     16..18     3  custody
///     19..21     3  custody before the lease: inbox or queue; 0 unless leased
///     22..24     3  custody before the merge, where a lease counts as ended; 0 unless merged and open before
///     25..39    15  zero, for what comes
///     40..63    24  cycle number
///
///     captured, in the inbox, cycle 0      0x0000000000010001
///     won from offered from mql, cycle 2   0x000002000000032B
package struct LeadState: RawRepresentable, Hashable, Sendable, BitwiseCopyable {
    package private(set) var rawValue: UInt64

    /// Nil if the bits are none that a state can have: for bytes from a disk.
    package init?(rawValue: UInt64) {
        self.rawValue = rawValue
        guard (25...39).allSatisfy({ rawValue >> UInt64($0) & 1 == 0 }),
            Stage(rawValue: bits(0, 4)) != nil,
            [4, 8, 12].allSatisfy({ bits($0, 4) == 0 || Stage(rawValue: bits($0, 4)) != nil }),
            [16, 19, 22].allSatisfy({ Custody(rawValue: bits($0, 3)) != nil }),
            invariantBroken == nil
        else { return nil }
    }

    /// The same for bytes that were checked already, or that the caller wrote in this process.
    @inline(__always)
    package init(trusted rawValue: UInt64) {
        self.rawValue = rawValue
    }

    /// A lead that was just captured for the first time.
    package static let created = LeadState(stage: .captured, custody: .inbox, cycle: 0)

    @inline(__always)
    init(stage: Stage, custody: Custody, cycle: Int) {
        rawValue = UInt64(stage.rawValue) | UInt64(custody.rawValue) << 16 | UInt64(cycle) << 40
    }

    /// The last cycle number there is: 16,777,215. A lead in it can be neither recycled nor reopened as new business, since two
    /// cycles under one number would be counted as one; all else goes on. Only a loop in some program gets there.
    package static let cycleMax = 1 << 24 - 1

    package private(set) var stage: Stage {
        // The unwraps hold because every way to set the bits goes through these properties or through a check.
        @inline(__always) get { Stage(rawValue: bits(0, 4))! }
        @inline(__always) set { setBits(0, 4, newValue.rawValue) }
    }

    package private(set) var custody: Custody {
        @inline(__always) get { Custody(rawValue: bits(16, 3))! }
        @inline(__always) set { setBits(16, 3, newValue.rawValue) }
    }

    /// How often the lead began anew: 0, 1, ...
    package var cycle: Int {
        @inline(__always) get { Int(rawValue >> 40) }
    }

    package private(set) var stageBeforeOffer: Stage? {
        @inline(__always) get { Stage(rawValue: bits(4, 4)) }
        @inline(__always) set { setBits(4, 4, newValue?.rawValue ?? 0) }
    }

    package private(set) var stageBeforeEnd: Stage? {
        @inline(__always) get { Stage(rawValue: bits(8, 4)) }
        @inline(__always) set { setBits(8, 4, newValue?.rawValue ?? 0) }
    }

    package private(set) var stageBeforeMerge: Stage? {
        @inline(__always) get { Stage(rawValue: bits(12, 4)) }
        @inline(__always) set { setBits(12, 4, newValue?.rawValue ?? 0) }
    }

    /// `none` unless leased.
    package private(set) var custodyBeforeLease: Custody {
        @inline(__always) get { Custody(rawValue: bits(19, 3))! }
        @inline(__always) set { setBits(19, 3, newValue.rawValue) }
    }

    /// `none` unless merged while open.
    package private(set) var custodyBeforeMerge: Custody {
        @inline(__always) get { Custody(rawValue: bits(22, 3))! }
        @inline(__always) set { setBits(22, 3, newValue.rawValue) }
    }

    @inline(__always)
    private func bits(_ start: UInt64, _ count: UInt64) -> UInt8 {
        UInt8(truncatingIfNeeded: rawValue >> start & (1 << count - 1))
    }

    @inline(__always)
    private mutating func setBits(_ start: UInt64, _ count: UInt64, _ value: UInt8) {
        rawValue = rawValue & ~((1 << count - 1) << start) | UInt64(value) << start
    }
}

// MARK: - The moves that rows of the lifecycle are made of

extension LeadState {
    /// Up to a later open stage. Beyond the offer, what was before it can no longer come back.
    @inline(__always)
    func raised(to stage: Stage) -> LeadState {
        var next = self
        next.stageBeforeOffer = stage == .offered ? self.stage : nil
        next.stage = stage
        return next
    }

    @inline(__always)
    func rejected() -> LeadState? {
        guard stage == .offered, let before = stageBeforeOffer else { return nil }
        var next = held(by: .inbox)
        next.stage = before
        next.stageBeforeOffer = nil
        return next
    }

    /// Into other hands. Whatever changes custody voids a lease.
    @inline(__always)
    func held(by custody: Custody) -> LeadState {
        var next = self
        next.custody = custody
        next.custodyBeforeLease = .none
        return next
    }

    @inline(__always)
    func leased() -> LeadState {
        var next = self
        next.custodyBeforeLease = custody
        next.custody = .leased
        return next
    }

    @inline(__always)
    func leaseEnded() -> LeadState { held(by: custodyBeforeLease) }

    @inline(__always)
    func ended(as end: Stage) -> LeadState {
        var next = held(by: .none)
        next.stageBeforeEnd = stage
        next.stage = end
        return next
    }

    /// Back from an end to the stage before it.
    @inline(__always)
    func resumed() -> LeadState? {
        guard let before = stageBeforeEnd else { return nil }
        var next = held(by: .inbox)
        next.stage = before
        next.stageBeforeEnd = nil
        return next
    }

    /// From the start again, in the next cycle; nil in the last cycle there is.
    @inline(__always)
    func begunAnew(with custody: Custody) -> LeadState? {
        guard cycle < LeadState.cycleMax else { return nil }
        return LeadState(stage: .captured, custody: custody, cycle: cycle + 1)
    }

    @inline(__always)
    func merged() -> LeadState {
        var next = held(by: .none)
        next.custodyBeforeMerge = custody == .leased ? custodyBeforeLease : custody
        next.stageBeforeMerge = stage
        next.stage = .merged
        return next
    }

    @inline(__always)
    func unmerged() -> LeadState? {
        guard let before = stageBeforeMerge else { return nil }
        var next = held(by: custodyBeforeMerge)
        next.stage = before
        next.stageBeforeMerge = nil
        next.custodyBeforeMerge = .none
        return next
    }

    @inline(__always)
    func erased() -> LeadState { LeadState(stage: .erased, custody: .none, cycle: cycle) }
}

// MARK: - Checking

extension LeadState {
    /// The invariant of this file that does not hold, or nil. For the checker and the tests.
    package var invariantBroken: String? {
        if stage.isOpen != (custody != .none) { return stage.isOpen ? "one-custody" : "ended-is-free" }
        let endedStage = stageBeforeMerge ?? stage
        let openStage = stageBeforeEnd ?? endedStage
        let openCustody = stage == .merged ? custodyBeforeMerge : custody
        guard (stageBeforeMerge != nil) == (stage == .merged),
            stageBeforeMerge.map({ $0.isOpen || $0.isEnded }) ?? true,
            (stageBeforeEnd != nil) == endedStage.isEnded,
            stageBeforeEnd?.isOpen ?? true,
            (stageBeforeOffer != nil) == (openStage == .offered),
            stageBeforeOffer.map({ $0 < .offered }) ?? true,
            custody == .leased
                ? custodyBeforeLease == .inbox || custodyBeforeLease == .queue : custodyBeforeLease == .none,
            stage != .merged ? custodyBeforeMerge == .none : endedStage.isOpen == (openCustody != .none),
            custodyBeforeMerge != .leased
        else { return "memory-is-minimal" }
        return nil
    }
}

extension LeadState: CustomStringConvertible {
    package var description: String { "\(stage.name), \(custody.name), cycle \(cycle)" }
}
