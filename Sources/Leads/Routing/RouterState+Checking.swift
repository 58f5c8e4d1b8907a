// The expensive questions about a state: whether its invariants hold, and which state it is.

extension RouterState {
    /// The invariant of `RouterState.swift` that does not hold, with where, or nil. Looks at everything: for tests and the checker.
    package var invariantBroken: String? {
        var open = Array(repeating: Int32(0), count: members.count)
        var queued = Array(repeating: 0, count: queues.count)
        for number in 1..<UInt32(leads.records.count) {
            let lead = leads[LeadNumber(rawValue: number)]
            if let broken = lead.state.invariantBroken { return "one-custody: lead \(number), \(broken)" }
            let custody = lead.state.custody
            if lead.holder != .nobody, custody != .owner, custody != .leased {
                return "one-custody: lead \(number) has a holder in \(custody.name)"
            }
            open[lead.holder.index] += lead.holder == .nobody ? 0 : 1
            if custody == .queue {
                queued[lead.queue.index] += 1
                let entry = lead.entry(as: LeadNumber(rawValue: number))
                if !queues[lead.queue.index].contains(entry) { return "queues-hold: lead \(number) is missing" }
            }
        }
        var owned: [UInt64: Int32] = [:]
        for lead in leads.records where lead.state.custody == .owner && lead.account != 0 && lead.holder != .nobody {
            owned[UInt64(lead.account) << 32 | UInt64(lead.holder.rawValue), default: 0] += 1
        }
        if owned != accountLeads { return "accounts-counted: \(accountLeads), not \(owned)" }
        for (number, member) in members.enumerated() where member.open != open[number] {
            return "open-counted: \(memberIDs[UInt32(number)]) has \(member.open), not \(open[number])"
        }
        for (number, queue) in queues.enumerated() where queue.count != queued[number] {
            return "queues-hold: \(poolIDs[UInt32(number)]) holds \(queue.count), not \(queued[number])"
        }
        for (number, queue) in queues.enumerated() {
            let entries = queue.inOrder
            if zip(entries, entries.dropFirst()).contains(where: { !($0 < $1) }) || entries.count != queue.count {
                return "queues-hold: \(poolIDs[UInt32(number)]) is out of order"
            }
        }
        for (number, rotation) in rotations.enumerated() where rotation.sum != 0 {
            return "sums-to-zero: \(poolIDs[UInt32(number)]) is at \(rotation.sum)"
        }
        return nil
    }

    /// 128 bits that differ for states that differ. The same on any machine, and whatever numbers ids were given on the way there.
    package var digest: RoutingKey {
        var digest = RoutingDigest()
        digest.take(end)
        let memberHashes = memberIDs.ids.map { RoutingDigest.hash($0) }
        let poolHashes = poolIDs.ids.map { RoutingDigest.hash($0) }
        for lead in leads.records.dropFirst() {
            digest.take(lead.key.high)
            digest.take(lead.key.low)
            digest.take(lead.captured)
            digest.take(lead.state.rawValue)
            digest.take(lead.decision)
            digest.take(UInt64(bitPattern: lead.mark))
            digest.take(lead.since)
            digest.take(memberHashes[lead.holder.index])
            digest.take(memberHashes[lead.earlierOwner.index])
            digest.take(lead.queue == .none ? 0 : poolHashes[lead.queue.index])
            digest.take(lead.account == 0 ? 0 : memberHashes[accountOwners[Int(lead.account)].index])
            digest.take(lead.kin == .none ? 0 : leads[lead.kin].key.low)
            digest.take(UInt64(UInt32(bitPattern: lead.score)) << 32 | UInt64(lead.pulls))
            var holder = lead.earlierHolders
            while holder != 0 {
                digest.take(memberHashes[holders[Int(holder)].member.index])
                holder = holders[Int(holder)].next
            }
        }
        for number in sorted(memberIDs) where !members[number].isUntouched {
            digest.take(memberHashes[number])
            members[number].add(to: &digest)
        }
        for number in sorted(poolIDs) {
            let rotation = rotations[number]
            for seat in rotation.members.indices.sorted(by: {
                memberIDs[rotation.members[$0].rawValue] < memberIDs[rotation.members[$1].rawValue]
            }) where rotation.balances[seat] != 0 || rotation.lastAssignments[seat] != 0 {
                digest.take(poolHashes[number])
                digest.take(memberHashes[rotation.members[seat].index])
                digest.take(UInt64(bitPattern: rotation.balances[seat]))
                digest.take(rotation.lastAssignments[seat])
            }
        }
        for plan in plans {
            digest.take(RoutingDigest.hash(plan.ruleSet.id))
            digest.take(plan.version)
            digest.take(plan.position)
            digest.take(UInt64(bitPattern: plan.from.microseconds))
        }
        for void in decisionsToVoid {
            digest.take(void.decision)
            digest.take(void.cause)
        }
        return digest.value
    }

    private func sorted(_ numbered: NumberedIDs) -> [Int] {
        numbered.ids.indices.dropFirst().sorted { numbered.ids[$0] < numbered.ids[$1] }
    }
}

extension MemberBook {
    /// Named, but nothing ever happened to it.
    var isUntouched: Bool {
        open == 0 && pausedUntil == nil && leaves.isEmpty && assignments.instants.isEmpty && lastByPool == nil
            && releases.instants.isEmpty && wins.instants.isEmpty && losses.instants.isEmpty
    }

    func add(to digest: inout RoutingDigest) {
        digest.take(UInt64(bitPattern: Int64(open)))
        digest.take(UInt64(bitPattern: pausedUntil ?? .min))
        for leave in leaves {
            digest.take(UInt64(bitPattern: leave.from))
            digest.take(UInt64(bitPattern: leave.until))
        }
        digest.take(UInt64(bitPattern: lastByPool?.microseconds ?? .min))
        for window in [assignments, releases, wins, losses] {
            digest.take(UInt64(window.instants.count))
            for instant in window.instants { digest.take(UInt64(bitPattern: instant)) }
        }
    }
}

/// Two lanes of multiply and mix: to compare states with, not to prove anything by.
struct RoutingDigest {
    private var high: UInt64 = 0x9E37_79B9_7F4A_7C15
    private var low: UInt64 = 0xC2B2_AE3D_27D4_EB4F

    mutating func take(_ word: UInt64) {
        high = Self.mix(high ^ word)
        low = Self.mix((low &+ word) ^ (high << 1))
    }

    var value: RoutingKey { RoutingKey(high: high, low: low) }

    static func hash(_ text: String) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return mix(hash)
    }

    private static func mix(_ word: UInt64) -> UInt64 {
        var word = word
        word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
        return word ^ (word >> 31)
    }
}
