/// What asks the router to decide, in the order of the log.
package struct RoutingTrigger: Equatable, Sendable {
    package enum Kind: UInt8, Sendable, CaseIterable {
        /// The lead came into the inbox, or was qualified by marketing there.
        case arrival = 1
        /// A place became free while the lead waited in a queue.
        case drain
        /// The holder did not accept in time: to somebody else.
        case takeBack
        /// A new rule set, or news about a lead that waits in a queue: decided again from the start.
        case reroute
        /// Asked for by a person.
        case byHand
        /// A member takes the lead that they have claimed.
        case pull

        package var word: StaticString {
            switch self {
            case .arrival: "arrival"
            case .drain: "drain"
            case .takeBack: "take_back"
            case .reroute: "reroute"
            case .byHand: "by_hand"
            case .pull: "pull"
            }
        }
    }

    package var kind: Kind
    package var lead: LeadNumber
    /// The position of the event that asks.
    package var position: UInt64

    package init(_ kind: Kind, lead: LeadNumber, position: UInt64) {
        self.kind = kind
        self.lead = lead
        self.position = position
    }
}

/// The triggers that came in and were not seen to be settled. An entry is only a hint: whether it still waits is what the lead's
/// record says, so what is left over costs nothing but a look.
struct TriggerList: Sendable {
    private var entries: [RoutingTrigger] = []
    private var head = 0

    var count: Int { entries.count - head }
    var first: RoutingTrigger? { head < entries.count ? entries[head] : nil }
    var all: ArraySlice<RoutingTrigger> { entries[head...] }

    mutating func append(_ trigger: RoutingTrigger) { entries.append(trigger) }

    /// Puts one back that came before all that are there.
    mutating func prepend(_ trigger: RoutingTrigger) {
        if head == 0 { return entries.insert(trigger, at: 0) }
        head -= 1
        entries[head] = trigger
    }

    mutating func removeFirst() {
        head += 1
        if head > 64 && head * 2 > entries.count {
            entries.removeFirst(head)
            head = 0
        }
    }

    mutating func keep(where isWaiting: (RoutingTrigger) -> Bool) {
        entries = entries[head...].filter(isWaiting)
        head = 0
    }
}

extension RouterState {
    /// The first trigger that still waits to be decided. It stays first until its lead's custody changes.
    package mutating func nextTrigger() -> RoutingTrigger? {
        while let trigger = triggers.first {
            if isWaiting(trigger) { return trigger }
            triggers.removeFirst()
        }
        return nil
    }

    /// All that wait, in the order of the log.
    package var waitingTriggers: [RoutingTrigger] { triggers.all.filter(isWaiting) }

    /// Whether a trigger is still to be decided: exactly the one that the lead's record names, in the custody it is about.
    package func isWaiting(_ trigger: RoutingTrigger) -> Bool {
        let record = leads[trigger.lead]
        switch trigger.kind {
        case .arrival: return record.state.custody == .inbox && record.mark == Int64(trigger.position) + 1
        case .takeBack: return record.state.custody == .owner && record.mark == Int64(trigger.position) + 1
        case .drain, .reroute, .byHand: return record.state.custody == .queue || record.state.custody == .inbox
        case .pull: return record.state.custody == .leased
        }
    }

    mutating func note(_ trigger: RoutingTrigger) {
        // Where nobody routes, triggers come and are settled by others; their entries must not pile up.
        if triggers.count > 1_024 && triggers.count > 2 * leads.count {
            let state = self
            triggers.keep(where: state.isWaiting)
        }
        triggers.append(trigger)
    }

    /// The pools of a rule set whose queue may go on, because a member of theirs was freed since this was last asked: in the
    /// order of the rule set. After a replay: all that have a queue.
    package mutating func takeFreedPools(_ plan: RoutingPlan) -> [PoolIndex] {
        var found: Set<PoolIndex> = []
        for member in freed {
            members[member.index].isFreed = false
            guard let index = plan.index(of: member) else { continue }
            for pool in plan.poolsOfMember[Int(index.rawValue)]
            where !queues[plan.pools[Int(pool.rawValue)].number.index].isEmpty {
                found.insert(pool)
            }
        }
        freed.removeAll(keepingCapacity: true)
        return found.sorted()
    }

    mutating func free(_ member: MemberNumber) {
        if !barren.isEmpty { barren = [:] }
        guard member != .nobody, !members[member.index].isFreed else { return }
        members[member.index].isFreed = true
        freed.append(member)
    }
}
