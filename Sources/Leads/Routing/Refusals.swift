/// Why a member is not eligible for a lead: all reasons at once, so that it can be said of whom just one stood in the way.
package struct Refusals: OptionSet, Hashable, Sendable, BitwiseCopyable {
    package let rawValue: UInt16

    package init(rawValue: UInt16) { self.rawValue = rawValue }

    /// The rule set says that the member takes no leads.
    package static let inactive = Refusals(rawValue: 1 << 0)
    /// Not in the pool, or in no rule set at all.
    package static let notAMember = Refusals(rawValue: 1 << 1)
    /// The member's own calendar is closed.
    package static let outOfHours = Refusals(rawValue: 1 << 2)
    package static let leave = Refusals(rawValue: 1 << 3)
    package static let paused = Refusals(rawValue: 1 << 4)
    /// A skill that the pool requires is missing.
    package static let skill = Refusals(rawValue: 1 << 5)
    /// The pool requires the lead's language.
    package static let language = Refusals(rawValue: 1 << 6)
    package static let openCap = Refusals(rawValue: 1 << 7)
    package static let dailyCap = Refusals(rawValue: 1 << 8)
    package static let rollingCap = Refusals(rawValue: 1 << 9)
    package static let coolDown = Refusals(rawValue: 1 << 10)
    /// The member's `conflict` is true of the lead.
    package static let conflict = Refusals(rawValue: 1 << 11)
    /// Had the lead in this cycle, and gave it back or had it taken.
    package static let earlierHolder = Refusals(rawValue: 1 << 12)

    /// What `ignore_absence` looks past.
    package static let absence: Refusals = [.outOfHours, .leave, .paused]

    package var count: Int { rawValue.nonzeroBitCount }

    /// The reasons one by one, in the order of their bits.
    package var each: [Refusals] {
        (0..<16).map { Refusals(rawValue: 1 << $0) }.filter { contains($0) }
    }

    /// The code of a single reason, as decisions write it. Codes are stored, and never change.
    package var code: StaticString {
        switch self {
        case .inactive: "off"
        case .notAMember: "outside"
        case .outOfHours: "hours"
        case .leave: "leave"
        case .paused: "pause"
        case .skill: "skill"
        case .language: "lang"
        case .openCap: "open"
        case .dailyCap: "day"
        case .rollingCap: "roll"
        case .coolDown: "cool"
        case .conflict: "clash"
        default: "held"
        }
    }

    /// The single reason with this code; nil if there is none.
    package init?(code: some StringProtocol) {
        guard let found = Refusals(rawValue: 0x1FFF).each.first(where: { $0.code.description == code }) else {
            return nil
        }
        self = found
    }
}
