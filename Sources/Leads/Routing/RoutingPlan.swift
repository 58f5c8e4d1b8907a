/// A rule set in force, with everything that can be worked out beforehand: the router's numbers of its members and pools, seats,
/// missing and preferred skills. Made once at activation, shared and never changed.
package final class RoutingPlan: Sendable {
    package let ruleSet: RuleSet
    package let version: UInt64
    package let from: Instant
    package let environment: RoutingEnvironment
    /// The position of the activation.
    package let position: UInt64

    /// By `MemberIndex`.
    package let members: [MemberNumber]
    /// By `PoolIndex`.
    package let pools: [PlannedPool]
    /// By `MemberNumber`, -1 for who is not in the rule set. Members that the log names later are beyond its end.
    private let indices: [Int32]
    /// By `MemberIndex`: the pools they are in.
    let poolsOfMember: [[PoolIndex]]

    /// A member's place in a pool.
    package struct Place: Sendable {
        package var member: MemberIndex
        package var number: MemberNumber
        package var seat: Int32
        package var weight: UInt32
        package var lacksSkill: Bool
        /// How many of the pool's preferred skills the member has.
        package var preferredSkills: UInt16
    }

    package struct PlannedPool: Sendable {
        package var number: PoolNumber
        package var places: [Place]
        package var usesSkill: Bool
        package var usesPerformance: Bool
    }

    init(_ activation: Activation, at position: UInt64, numbering state: inout RouterState) {
        let rules = activation.ruleSet
        ruleSet = rules
        version = activation.version
        from = activation.from
        environment = activation.environment
        self.position = position

        let numbers = rules.members.map { state.memberNumber($0.id) }
        members = numbers
        var poolsOfMember = Array(repeating: [PoolIndex](), count: rules.members.count)
        var planned: [PlannedPool] = []
        for (index, pool) in rules.pools.enumerated() {
            let number = state.poolNumber(pool.id)
            var places: [Place] = []
            for entry in pool.members {
                let member = rules.members[entry.member]
                let memberNumber = numbers[Int(entry.member.rawValue)]
                poolsOfMember[Int(entry.member.rawValue)].append(PoolIndex(index))
                places.append(
                    Place(
                        member: entry.member, number: memberNumber,
                        seat: Int32(state.seat(of: memberNumber, in: number)), weight: entry.weight,
                        lacksSkill: !member.skills.isSuperset(of: pool.requiredSkills),
                        preferredSkills: UInt16(member.skills.intersection(pool.preferredSkills).count)))
            }
            planned.append(
                PlannedPool(
                    number: number, places: places, usesSkill: pool.strategies.contains(.skill),
                    usesPerformance: pool.strategies.contains(.performance)))
        }
        pools = planned
        self.poolsOfMember = poolsOfMember
        var indices = Array(repeating: Int32(-1), count: state.memberCount)
        for (index, number) in numbers.enumerated() { indices[number.index] = Int32(index) }
        self.indices = indices
    }

    /// Nil for who is not in this rule set.
    package func index(of member: MemberNumber) -> MemberIndex? {
        guard member.index < indices.count, indices[member.index] >= 0 else { return nil }
        return MemberIndex(Int(indices[member.index]))
    }

    /// The pool with this number, if the rule set has it.
    package func pool(numbered number: PoolNumber) -> PoolIndex? {
        pools.firstIndex { $0.number == number }.map { PoolIndex($0) }
    }
}
