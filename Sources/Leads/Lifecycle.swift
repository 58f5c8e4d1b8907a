// What may happen to a lead next: one pure function from (state, event) to the next state or a refusal. The appender asks it
// for every event, under the only lock that matters, so it allocates nothing and reads nothing but its arguments.
//
// Rules:
//   log-order           Stage, custody and cycle follow the order of the log. Instants date crossings and touches; they are
//                       not looked at here.
//   nothing-is-lost     A lead is never without custody while it is open, and nothing but an end, a merge or an erasure takes
//                       the last one away.
//   past-is-kept        A backfilled event at or below where the lead stands is history: accepted, and without effect.

package enum LifecycleVerdict: Equatable, Sendable {
    case next(LeadState)
    case refused(LifecycleRefusal)
}

/// Why an event cannot happen to a lead. The names are those of the wire's errors; the raw values travel through the log's
/// answers within one process and are not on disk.
package enum LifecycleRefusal: UInt8, CaseIterable, Sendable {
    /// Anything but `captured` on a lead that nobody captured.
    case unknownLead = 1
    /// The lead went into another; only what the survivor should know is taken.
    case leadMerged
    case leadErased
    /// Not from this stage and custody. `Lifecycle.accepted(in:)` says what would be.
    case transitionRefused

    /// The symbolic name in the error registry.
    package var name: String {
        switch self {
        case .unknownLead: "unknown_lead"
        case .leadMerged: "lead_merged"
        case .leadErased: "lead_erased"
        case .transitionRefused: "transition_refused"
        }
    }
}

package enum Lifecycle {
    /// The state after the event, or why it cannot happen. `state` is nil for a lead that has no event yet.
    ///
    /// `variant` is the header's second byte (`EventVariant`). The target of a merge is not looked at: it is another lead's
    /// state, and the caller's to check.
    package static func evolve(
        _ state: LeadState?, _ event: EventType, _ variant: EventVariant = .plain, backfill: Bool = false
    ) -> LifecycleVerdict {
        // 1. A lead begins by being captured, and in no other way.
        guard let state else {
            return event == .captured ? .next(.created) : .refused(.unknownLead)
        }
        // 2. Nothing happens to an erased lead, and hardly anything to a merged one.
        let stage = state.stage
        if stage == .erased { return .refused(.leadErased) }
        if stage == .merged {
            switch event {
            case .touched: return .next(state)
            case .unmerged: return verdict(state.unmerged())
            case .erased: return .next(state.erased())
            default: return .refused(.leadMerged)
            }
        }
        // 3. What is left is open, or won, lost or disqualified.
        let isOpen = stage.isOpen
        switch event {
        case .captured, .touched, .enriched, .scored, .noted, .duplicateSuspected:
            return .next(state)

        case .marketingQualified: return rise(state, to: .mql, backfill)
        case .offered: return rise(state, to: .offered, backfill)
        case .accepted: return rise(state, to: .accepted, backfill)
        case .qualified: return rise(state, to: .qualified, backfill)
        case .opportunityOpened: return rise(state, to: .opportunity, backfill)
        case .rejected: return verdict(state.rejected())

        case .contactAttempted: return contact(state, atLeast: .working, variant, backfill)
        case .contacted: return contact(state, atLeast: .contacted, variant, backfill)

        case .won, .lost, .disqualified:
            guard isOpen else { return .refused(.transitionRefused) }
            return .next(state.ended(as: event == .won ? .won : event == .lost ? .lost : .disqualified))
        case .wonRevised:
            return allowed(stage == .won, state)
        case .recycled:
            guard stage != .won else { return .refused(.transitionRefused) }
            return verdict(state.begunAnew(with: variant == .toNurture ? .nurture : .inbox))
        case .reopened:
            switch variant {
            case .resume where stage == .lost || stage == .disqualified: return verdict(state.resumed())
            case .unWin where stage == .won: return verdict(state.resumed())
            case .newBusiness where stage == .won: return verdict(state.begunAnew(with: .inbox))
            default: return .refused(.transitionRefused)
            }

        case .assigned: return give(state, to: .owner)
        case .queued: return give(state, to: .queue)
        case .nurtureEnrolled: return give(state, to: .nurture)
        case .claimed:
            guard state.custody == .inbox || state.custody == .queue else { return .refused(.transitionRefused) }
            return .next(state.leased())
        case .leaseEnded:
            guard state.custody == .leased else { return .refused(.transitionRefused) }
            return .next(state.leaseEnded())
        case .released:
            guard state.custody == .owner || state.custody == .nurture else { return .refused(.transitionRefused) }
            return .next(state.held(by: .inbox))
        case .nurtureExited:
            guard state.custody == .nurture else { return .refused(.transitionRefused) }
            return .next(state.held(by: .inbox))
        case .nurtureStepped:
            return allowed(state.custody == .nurture, state)

        case .escalated, .inboxAlarmed, .clockStarted, .clockPaused, .clockResumed, .clockReplaced:
            return allowed(isOpen, state)
        case .clockMet, .clockBreached, .clockStopped:
            return .next(state)

        case .merged: return .next(state.merged())
        case .unmerged: return .refused(.transitionRefused)
        case .erased: return .next(state.erased())

        case .policyPart, .policyPublished, .policyApproved, .policyActivated, .policyRolledBack, .memberPaused,
            .memberResumed, .memberOnLeave, .memberReturned, .poolDecisionVoided:
            // They happen to no lead; one that stands on a lead's stream was not written by us.
            return .refused(.transitionRefused)
        }
    }

    /// The events a lead in this state would take with some data, in the order of their codes, `reopened` with its kinds:
    /// `["lead.captured", "lead.touched", ..., "lead.reopened(un_win)"]`. Of those a client may send.
    package static func accepted(in state: LeadState?) -> [String] {
        var names: [String] = []
        for event in EventType.allCases where event.isSupported && !event.isReserved {
            for variant in EventVariant.all(of: event) {
                guard case .next = evolve(state, event, variant) else { continue }
                if event == .reopened {
                    names.append("\(event.name)(\(variant.word))")
                } else {
                    names.append(event.name)
                    break
                }
            }
        }
        return names
    }

    /// A stage that is entered once, from below.
    @inline(__always)
    private static func rise(_ state: LeadState, to stage: Stage, _ backfill: Bool) -> LifecycleVerdict {
        if state.stage < stage { return .next(state.raised(to: stage)) }
        return allowed(backfill, state)
    }

    /// Contact may be repeated: it lifts the stage only if that is lower, and tells who has the lead if nobody had.
    @inline(__always)
    private static func contact(
        _ state: LeadState, atLeast stage: Stage, _ variant: EventVariant, _ backfill: Bool
    ) -> LifecycleVerdict {
        if backfill && state.stage >= stage { return .next(state) }
        guard state.stage.isOpen else { return .refused(.transitionRefused) }
        var next = state.stage < stage ? state.raised(to: stage) : state
        if variant != .automatic && (next.custody == .inbox || next.custody == .queue) {
            next = next.held(by: .owner)
        }
        return .next(next)
    }

    /// A lease must end before somebody else gets the lead.
    @inline(__always)
    private static func give(_ state: LeadState, to custody: Custody) -> LifecycleVerdict {
        guard state.stage.isOpen, state.custody != .leased else { return .refused(.transitionRefused) }
        return .next(state.held(by: custody))
    }

    @inline(__always)
    private static func allowed(_ condition: Bool, _ state: LeadState) -> LifecycleVerdict {
        condition ? .next(state) : .refused(.transitionRefused)
    }

    @inline(__always)
    private static func verdict(_ state: LeadState?) -> LifecycleVerdict {
        if let state { .next(state) } else { .refused(.transitionRefused) }
    }
}
