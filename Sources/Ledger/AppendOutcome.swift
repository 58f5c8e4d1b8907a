/// Who is told the outcomes: an event loop, mostly.
package protocol AppendReplySink: AnyObject, Sendable {
    /// Called by the thread that appends, once a commit for each sink that waits, with its units in the order of submission, mostly in
    /// the arrays that they were submitted in: each has its `outcome`, and is the sink's again. It must only pass them on: the next commit waits for it. That thread may
    /// be the one that is submitting a unit just now (`mayWait`), so nothing that it holds may be touched, nor a unit be submitted.
    func deliver(_ batches: [[AppendUnit]])

    /// Called by the thread that appends, once for each `whenRoom(_:)`, when the queue takes units again.
    func queueHasRoom()
}

/// What became of a unit.
package enum AppendOutcome: Sendable {
    /// Every event is stored and survives a power cut; or was already, see ``AppendReceipt/isDuplicate``.
    case appended(AppendReceipt)
    /// A dry run: nothing is against it. Nothing was stored; the versions are those that its events would get now.
    case wouldAppend([StreamVersion])
    /// The unit had no events; its register writes survive a power cut.
    case stored
    /// Nothing of it was stored by this submission; nor before, unless the refusal is `poisoned`, after which nothing is
    /// looked up.
    case refused(AppendRefusal)
    /// Stored whole or not at all; only a retry after the daemon's restart tells.
    case unknown
}

package struct AppendReceipt: Sendable, Equatable {
    package var first: Position
    package var last: Position
    /// Microseconds since 1970 UTC; that of the first event where a duplicate's events were stored apart.
    package var recordedAt: Int64
    package var events: ReceiptEvents
    /// The same unit was stored before; all else is what was answered then.
    package var isDuplicate: Bool
}

package struct ReceiptEvent: Sendable, Hashable {
    package var position: Position
    package var version: StreamVersion
    package var leaf: LeafHash
}

/// The events of a receipt, in the order of the unit. One event, which most units have, takes no allocation.
package struct ReceiptEvents: RandomAccessCollection, Sendable, Equatable {
    private var head: ReceiptEvent
    private var tail: [ReceiptEvent] = []

    init(_ event: ReceiptEvent) { head = event }
    mutating func append(_ event: ReceiptEvent) { tail.append(event) }

    package var startIndex: Int { 0 }
    package var endIndex: Int { 1 + tail.count }
    package subscript(index: Int) -> ReceiptEvent { index == 0 ? head : tail[index - 1] }
}

/// An event, as a refusal names it.
package struct StoredEvent: Sendable, Hashable {
    package var position: Position
    package var type: UInt8
}

/// Why a unit was not stored. `event` and `expectation` are indices into the unit.
package enum AppendRefusal: Sendable, Equatable {
    /// An event of this name is stored, and says something else.
    case idReused(event: Int, position: Position)
    /// Some events of the unit are stored, the others not.
    case partialDuplicate(stored: [(event: Int, position: Position)])
    case nameTwiceInUnit(event: Int, first: Int)
    /// `since`: the events after the expected version, at most the first `LedgerLimits.conflictEventsMax` of them,
    /// oldest first; empty when the stream has fewer events than expected.
    case versionConflict(expectation: Int, current: StreamVersion, since: [StoredEvent])
    case lifecycle(event: Int, reason: UInt8, state: UInt64?)
    case ledgerFull
    case diskFull
    case clockBehind(lastRecordedAt: Int64, now: Int64)
    /// The device failed earlier: nothing is written any more.
    case poisoned
    case tailFull(retryAfterMilliseconds: Int)

    package static func == (left: AppendRefusal, right: AppendRefusal) -> Bool {
        switch (left, right) {
        case (.idReused(let a, let b), .idReused(let c, let d)): a == c && b == d
        case (.partialDuplicate(let a), .partialDuplicate(let b)): a.elementsEqual(b, by: ==)
        case (.nameTwiceInUnit(let a, let b), .nameTwiceInUnit(let c, let d)): a == c && b == d
        case (.versionConflict(let a, let b, let c), .versionConflict(let d, let e, let f)): a == d && b == e && c == f
        case (.lifecycle(let a, let b, let c), .lifecycle(let d, let e, let f)): a == d && b == e && c == f
        case (.clockBehind(let a, let b), .clockBehind(let c, let d)): a == c && b == d
        case (.tailFull(let a), .tailFull(let b)): a == b
        case (.ledgerFull, .ledgerFull), (.diskFull, .diskFull), (.poisoned, .poisoned): true
        default: false
        }
    }
}

/// What the log knows of a stream: the newest row of it.
package struct StreamRow: Sendable, Hashable {
    package var first: Position
    package var last: Position
    package var version: StreamVersion
    /// As the lifecycle packs it.
    package var state: UInt64
}

/// What happens to a stream, given by whoever knows the business: a pure function of the state (nil: no events yet),
/// the event's type code, its variant and whether it is a backfill.
package typealias StreamLifecycle =
    @Sendable (_ state: UInt64?, _ type: UInt8, _ variant: UInt8, _ isBackfill: Bool) -> LifecycleAnswer

package enum LifecycleAnswer: Sendable {
    case next(UInt64)
    case refused(reason: UInt8)
}
