import Leads
package import Ledger

/// The streams of leads, in the log's terms: where the business's rules and the log, which knows no lead words, meet.
package enum LeadStreams {
    /// The stream kind in a record's header.
    package static let kind = StreamKind.lead.rawValue

    /// The reason of a refusal that is not the lifecycle's: the index has a state that no lead can have.
    package static let unreadableState: UInt8 = 0

    /// What may happen to a lead, for the appender.
    package static let lifecycle: StreamLifecycle = { state, type, variant, isBackfill in
        guard let type = EventType(rawValue: type), let variant = EventVariant(rawValue: variant) else {
            return .refused(reason: LifecycleRefusal.transitionRefused.rawValue)
        }
        // The daemon alone writes to the other streams, and expects a version of them where the order matters.
        guard type.stream == .lead else { return .next(0) }
        // The index, which the state comes from, has no checksums: bits that no lead can have are not believed.
        var known: LeadState?
        if let state {
            guard let read = LeadState(rawValue: state) else { return .refused(reason: unreadableState) }
            known = read
        }
        switch Lifecycle.evolve(known, type, variant, backfill: isBackfill) {
        case .next(let state): return .next(state.rawValue)
        case .refused(let refusal): return .refused(reason: refusal.rawValue)
        }
    }
}
