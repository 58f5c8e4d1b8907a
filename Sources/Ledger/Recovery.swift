import LMDB

/// What a start does to bring index and overlay up to the log.
struct Recovery {
    let log: LogStore
    let index: Index
    let lifecycle: StreamLifecycle

    /// Has the index take in the log until at most `tail` events are left, in transactions of a bounded size.
    /// - Returns: its progress.
    func catchUp(to end: UInt64, leaving tail: Int) throws(LedgerError) -> UInt64 {
        var progress = try index.progress()
        let reader = try LogReader(log)
        var events: ContiguousArray<TailEvent> = []
        while end - progress > UInt64(tail) {
            events.removeAll(keepingCapacity: true)
            let limit = min(LedgerLimits.indexTransactionEventsMax, Int(end - progress))
            events.reserveCapacity(limit)
            try scan(from: progress, limit: limit) { record in
                // `apply` computes the state, and needs neither the first event nor the one before.
                events.append(
                    TailEvent(record, record.keys, first: record.position, state: 0, previous: TailEvent.none))
            }
            do throws(Index.FollowError) {
                try index.apply(events, from: progress, log: reader, lifecycle: lifecycle)
            } catch {
                switch error {
                case .full(let reason): throw LedgerError(.diskFull, reason, path: index.environment.directory)
                case .broken(let error): throw error
                }
            }
            progress += UInt64(events.count)
        }
        return progress
    }

    /// Fills the overlay with the events from its floor, which is the index's progress, to the end.
    func refill(_ overlay: Overlay, to end: UInt64) throws(LedgerError) {
        guard overlay.end < end else { return }
        var staged: ContiguousArray<TailEvent> = []
        var failure: LedgerError?
        let snapshot = try IndexSnapshot(index: index, log: log)
        let limit = Int(end - overlay.end)
        // Each by itself: the overlay then has what the next one of its stream asks for.
        try scan(from: overlay.end, limit: limit) { record in
            guard failure == nil else { return }
            do throws(LedgerError) {
                staged.append(try stage(record, overlay, snapshot))
                overlay.join(staged)
                staged.removeAll(keepingCapacity: true)
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
    }

    private func stage(
        _ record: RecordView, _ overlay: Overlay, _ snapshot: borrowing IndexSnapshot
    ) throws(LedgerError) -> TailEvent {
        let keys = record.keys
        let key = keys.stream
        let before =
            if let row = overlay.row(of: key) { row as StreamRow? } else {
                try overlay.checked(try snapshot.row(of: key))
            }
        let position = record.position.rawValue
        guard record.version.rawValue == (before?.version.rawValue ?? 0) + 1 else {
            throw .corruption(
                "version \(record.version) follows \(before?.version ?? .zero) in stream \(key)", at: position)
        }
        switch lifecycle(before?.state, record.type, record.variant, record.isBackfill) {
        case .refused(let reason):
            throw .corruption("the lifecycle refuses a stored event (reason \(reason))", at: position)
        case .next(let state):
            return TailEvent(
                record, keys, first: before?.first ?? record.position, state: state,
                previous: before?.last.rawValue ?? TailEvent.none)
        }
    }

    private func scan(from: UInt64, limit: Int, _ body: (RecordView) -> Void) throws(LedgerError) {
        do {
            _ = try log.scan(from: from, limit: limit) { record, _ in
                body(record)
                return true
            }
        } catch let error as LedgerError {
            throw error
        } catch {
            preconditionFailure("reading the log throws a LedgerError, not \(error)")
        }
    }
}

extension TailEvent {
    init(_ record: RecordView, _ keys: EventKeys, first: Position, state: UInt64, previous: UInt64) {
        self.init(
            key: keys.stream, name: keys.name, first: first, version: record.version, state: state, previous: previous,
            type: record.type, variant: record.variant, isBackfill: record.isBackfill)
    }
}

extension LogStore {
    /// The last records are what was stored, one after the other, with times that do not go back (S1 to S3).
    func verifyTail(end: UInt64, records: Int) throws(LedgerError) {
        let start = end > UInt64(records) ? end - UInt64(records) : 0
        var last = Int64.min
        var backwards: UInt64?
        do {
            let reached = try scan(from: start) { record, _ in
                if record.recordedAt < last { backwards = backwards ?? record.position.rawValue }
                last = record.recordedAt
                return true
            }
            guard reached == end else { throw LedgerError.corruption("the log ends early", at: reached) }
        } catch let error as LedgerError {
            throw error
        } catch {
            preconditionFailure("reading the log throws a LedgerError, not \(error)")
        }
        if let backwards { throw .corruption("recorded-at goes back", at: backwards) }
    }
}
