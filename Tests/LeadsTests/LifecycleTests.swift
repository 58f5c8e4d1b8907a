import TestSupport
import Testing

@testable import Leads

/// The lifecycle against a table written by hand from the business rules, in another form than the code: what is accepted is
/// a grid of signs, what it does is said on a plain model of a lead.
@Suite struct LifecycleTests {
    // MARK: - The table

    /// Columns: captured mql offered accepted working contacted qualified opportunity | won lost disqualified | merged | erased.
    /// `+` accepted, `-` transition_refused, `m` lead_merged, `e` lead_erased. Custody has its say after this.
    static let grid: [(EventType, EventVariant, String)] = [
        (.captured, .plain, "++++++++ +++ m e"),
        (.touched, .plain, "++++++++ +++ + e"),
        (.enriched, .plain, "++++++++ +++ m e"),
        (.scored, .plain, "++++++++ +++ m e"),
        (.noted, .plain, "++++++++ +++ m e"),
        (.duplicateSuspected, .plain, "++++++++ +++ m e"),
        (.marketingQualified, .plain, "+------- --- m e"),
        (.offered, .plain, "++------ --- m e"),
        (.accepted, .plain, "+++----- --- m e"),
        (.rejected, .plain, "--+----- --- m e"),
        (.queued, .plain, "++++++++ --- m e"),
        (.assigned, .plain, "++++++++ --- m e"),
        (.claimed, .plain, "++++++++ --- m e"),
        (.leaseEnded, .plain, "++++++++ --- m e"),
        (.released, .plain, "++++++++ --- m e"),
        (.nurtureEnrolled, .plain, "++++++++ --- m e"),
        (.nurtureStepped, .plain, "++++++++ --- m e"),
        (.nurtureExited, .plain, "++++++++ --- m e"),
        (.escalated, .plain, "++++++++ --- m e"),
        (.inboxAlarmed, .plain, "++++++++ --- m e"),
        (.contactAttempted, .plain, "++++++++ --- m e"),
        (.contactAttempted, .automatic, "++++++++ --- m e"),
        (.contacted, .plain, "++++++++ --- m e"),
        (.contacted, .automatic, "++++++++ --- m e"),
        (.qualified, .plain, "++++++-- --- m e"),
        (.opportunityOpened, .plain, "+++++++- --- m e"),
        (.won, .plain, "++++++++ --- m e"),
        (.wonRevised, .plain, "-------- +-- m e"),
        (.lost, .plain, "++++++++ --- m e"),
        (.disqualified, .plain, "++++++++ --- m e"),
        (.recycled, .plain, "++++++++ -++ m e"),
        (.recycled, .toNurture, "++++++++ -++ m e"),
        (.reopened, .resume, "-------- -++ m e"),
        (.reopened, .unWin, "-------- +-- m e"),
        (.reopened, .newBusiness, "-------- +-- m e"),
        (.clockStarted, .plain, "++++++++ --- m e"),
        (.clockPaused, .plain, "++++++++ --- m e"),
        (.clockResumed, .plain, "++++++++ --- m e"),
        (.clockMet, .plain, "++++++++ +++ m e"),
        (.clockBreached, .plain, "++++++++ +++ m e"),
        (.clockStopped, .plain, "++++++++ +++ m e"),
        (.clockReplaced, .plain, "++++++++ --- m e"),
        (.merged, .plain, "++++++++ +++ m e"),
        (.unmerged, .plain, "-------- --- + e"),
        (.erased, .plain, "++++++++ +++ + e"),
    ]

    /// With `backfill: true`, `h` is history: accepted without effect. Rows not here are as above.
    static let backfillGrid: [(EventType, EventVariant, String)] = [
        (.marketingQualified, .plain, "+hhhhhhh hhh m e"),
        (.offered, .plain, "++hhhhhh hhh m e"),
        (.accepted, .plain, "+++hhhhh hhh m e"),
        (.contactAttempted, .plain, "++++hhhh hhh m e"),
        (.contactAttempted, .automatic, "++++hhhh hhh m e"),
        (.contacted, .plain, "+++++hhh hhh m e"),
        (.contacted, .automatic, "+++++hhh hhh m e"),
        (.qualified, .plain, "++++++hh hhh m e"),
        (.opportunityOpened, .plain, "+++++++h hhh m e"),
    ]

    static let columns: [Stage] = [
        .captured, .mql, .offered, .accepted, .working, .contacted, .qualified, .opportunity, .won, .lost,
        .disqualified,
        .merged, .erased,
    ]

    static func sign(
        _ grid: [(EventType, EventVariant, String)], _ event: EventType, _ variant: EventVariant, _ stage: Stage
    ) -> Character? {
        guard let row = grid.first(where: { $0.0 == event && $0.1 == variant }) else { return nil }
        return Array(row.2.filter { $0 != " " })[columns.firstIndex(of: stage)!]
    }

    /// A lead with every memory in a field of its own.
    struct Model: Hashable {
        var stage = Stage.captured
        var custody = Custody.inbox
        var cycle = 0
        var stageBeforeOffer: Stage?
        var stageBeforeEnd: Stage?
        var stageBeforeMerge: Stage?
        var custodyBeforeLease: Custody = .none
        var custodyBeforeMerge: Custody = .none

        init() {}

        init(_ state: LeadState) {
            (stage, custody, cycle) = (state.stage, state.custody, state.cycle)
            (stageBeforeOffer, stageBeforeEnd, stageBeforeMerge) =
                (state.stageBeforeOffer, state.stageBeforeEnd, state.stageBeforeMerge)
            (custodyBeforeLease, custodyBeforeMerge) = (state.custodyBeforeLease, state.custodyBeforeMerge)
        }

        var custodyAllows: (EventType) -> Bool {
            { [custody] event in
                switch event {
                case .assigned, .queued, .nurtureEnrolled: custody != .leased
                case .claimed: custody == .inbox || custody == .queue
                case .leaseEnded: custody == .leased
                case .released: custody == .owner || custody == .nurture
                case .nurtureExited, .nurtureStepped: custody == .nurture
                default: true
                }
            }
        }

        mutating func go(_ stage: Stage) {
            if stage == .offered {
                stageBeforeOffer = self.stage
            } else {
                stageBeforeOffer = nil
            }
            self.stage = stage
        }

        mutating func hold(_ custody: Custody) {
            self.custody = custody
            custodyBeforeLease = .none
        }

        mutating func anew(_ custody: Custody) {
            let cycle = cycle + 1
            self = Model()
            self.cycle = cycle
            self.custody = custody
        }

        mutating func apply(_ event: EventType, _ variant: EventVariant) {
            switch event {
            case .marketingQualified: go(.mql)
            case .offered: go(.offered)
            case .accepted: go(.accepted)
            case .qualified: go(.qualified)
            case .opportunityOpened: go(.opportunity)
            case .rejected:
                stage = stageBeforeOffer!
                stageBeforeOffer = nil
                hold(.inbox)
            case .contactAttempted, .contacted:
                let least: Stage = event == .contacted ? .contacted : .working
                if Stage.open.firstIndex(of: stage)! < Stage.open.firstIndex(of: least)! { go(least) }
                if variant == .plain, custody == .inbox || custody == .queue { hold(.owner) }
            case .won, .lost, .disqualified:
                stageBeforeEnd = stage
                stage = event == .won ? .won : event == .lost ? .lost : .disqualified
                hold(.none)
            case .recycled: anew(variant == .toNurture ? .nurture : .inbox)
            case .reopened where variant == .newBusiness: anew(.inbox)
            case .reopened:
                stage = stageBeforeEnd!
                stageBeforeEnd = nil
                hold(.inbox)
            case .assigned: hold(.owner)
            case .queued: hold(.queue)
            case .nurtureEnrolled: hold(.nurture)
            case .released, .nurtureExited: hold(.inbox)
            case .claimed:
                custodyBeforeLease = custody
                custody = .leased
            case .leaseEnded: hold(custodyBeforeLease)
            case .merged:
                stageBeforeMerge = stage
                custodyBeforeMerge = custody == .leased ? custodyBeforeLease : custody
                stage = .merged
                hold(.none)
            case .unmerged:
                stage = stageBeforeMerge!
                hold(custodyBeforeMerge)
                stageBeforeMerge = nil
                custodyBeforeMerge = .none
            case .erased:
                let cycle = cycle
                self = Model()
                self.cycle = cycle
                stage = .erased
                custody = .none
            default: break
            }
        }
    }

    /// Every state that can be reached within two cycles, with the packed state that goes with it; every event in each, live and
    /// backfilled.
    @Test func `Every event in every reachable state does what the table says`() {
        var known: [Model: LeadState] = [Model(): .created]
        var waiting = [Model()]
        var edges = 0
        // Those that leave a state as it is say so, and no others but captures, which begin one.
        var changing: Set<EventType> = []
        while let model = waiting.popLast() {
            let state = known[model]!
            for (event, variant, _) in LifecycleTests.grid {
                for backfill in [false, true] {
                    edges += 1
                    let found = Lifecycle.evolve(state, event, variant, backfill: backfill)
                    var sign = LifecycleTests.sign(LifecycleTests.grid, event, variant, model.stage)!
                    if backfill {
                        sign = LifecycleTests.sign(LifecycleTests.backfillGrid, event, variant, model.stage) ?? sign
                    }
                    if sign == "+" && !model.custodyAllows(event) && model.stage.isOpen { sign = "-" }
                    switch (sign, found) {
                    case ("-", .refused(.transitionRefused)), ("m", .refused(.leadMerged)),
                        ("e", .refused(.leadErased)):
                        continue
                    case ("h", .next(let next)) where next == state:
                        continue
                    case ("+", .next(let next)) where event.leavesState && next != state:
                        break
                    case ("+", .next(let next)):
                        if next != state { changing.insert(event) }
                        var expected = model
                        expected.apply(event, variant)
                        if Model(next) == expected, next.invariantBroken == nil,
                            LeadState(rawValue: next.rawValue) == next
                        {
                            if let other = known[expected], other != next {
                                Issue.record("two states for one situation: \(expected)")
                                return
                            }
                            if known[expected] == nil && expected.cycle < 2 {
                                known[expected] = next
                                waiting.append(expected)
                            }
                            continue
                        }
                    default: break
                    }
                    Issue.record(
                        "\(event.name) \(variant.word) backfill \(backfill) on \(model): expected \(sign), got \(found)"
                    )
                    return
                }
            }
        }
        #expect(changing == Set(EventType.allCases.filter { $0.stream == .lead && !$0.leavesState && $0 != .captured }))
        #expect(Set(known.keys.map(\.stage)).count == Stage.allCases.count)
        #expect(known.count > 200)
        #expect(edges == known.count * LifecycleTests.grid.count * 2)
    }

    @Test func `Nothing but a capture happens to an unknown lead`() {
        for (event, variant, _) in LifecycleTests.grid {
            for backfill in [false, true] {
                let found = Lifecycle.evolve(nil, event, variant, backfill: backfill)
                #expect(found == (event == .captured ? .next(.created) : .refused(.unknownLead)))
            }
        }
        #expect(Lifecycle.accepted(in: nil) == ["lead.captured"])
    }

    // MARK: - Given, when, then

    private func state(after events: [(EventType, EventVariant)]) -> LeadState? {
        var state: LeadState?
        for (event, variant) in events {
            guard case .next(let next) = Lifecycle.evolve(state, event, variant) else { return nil }
            state = next
        }
        return state
    }

    private func state(after events: EventType...) -> LeadState? { state(after: events.map { ($0, .plain) }) }

    @Test func `Given a lost lead, when it is won, then it is refused and told what it could do`() {
        let lost = state(after: .captured, .assigned, .lost)
        #expect(Lifecycle.evolve(lost, .won) == .refused(.transitionRefused))
        #expect(
            Lifecycle.accepted(in: lost) == [
                "lead.captured", "lead.touched", "lead.enriched", "lead.noted", "lead.recycled",
                "lead.reopened(resume)",
            ])
    }

    @Test func `Given a won lead, then what it could do names both kinds of reopening`() {
        #expect(
            Lifecycle.accepted(in: state(after: .captured, .won)) == [
                "lead.captured", "lead.touched", "lead.enriched", "lead.noted", "lead.won_revised",
                "lead.reopened(un_win)",
                "lead.reopened(new_business)",
            ])
    }

    @Test func `Given a merged or an erased lead, then hardly anything is accepted`() {
        #expect(Lifecycle.accepted(in: state(after: .captured, .merged)) == ["lead.touched"])
        #expect(Lifecycle.accepted(in: state(after: .captured, .erased)) == [])
    }

    @Test
    func
        `Given an offer after a skipped stage, when it is rejected, then the lead is back in its stage and in the inbox`()
    {
        let found = state(after: .captured, .assigned, .offered, .rejected)
        #expect(found?.stage == .captured)
        #expect(found?.custody == .inbox)
    }

    @Test
    func
        `Given an offered lead that was lost and resumed, when it is rejected, then the stage before the offer is still known`()
    {
        let found = state(after: [
            (.captured, .plain), (.marketingQualified, .plain), (.offered, .plain), (.lost, .plain),
            (.reopened, .resume),
            (.rejected, .plain),
        ])
        #expect(found?.stage == .mql)
    }

    @Test func `Given a lead in the inbox, when a machine tries to contact it, then nobody has it yet`() {
        #expect(state(after: [(.captured, .plain), (.contactAttempted, .automatic)])?.custody == .inbox)
        #expect(state(after: [(.captured, .plain), (.contactAttempted, .plain)])?.custody == .owner)
    }

    @Test func `Given a leased lead, when it is lost, then the lease is void`() {
        let found = state(after: .captured, .queued, .claimed, .lost)
        #expect(found?.custody == Custody.none)
        #expect(found?.custodyBeforeLease == Custody.none)
    }

    @Test func `Given a leased lead that was merged, when it is unmerged, then it is as if the lease had ended`() {
        #expect(state(after: .captured, .queued, .claimed, .merged, .unmerged)?.custody == .queue)
    }

    @Test func `Given new business after a win, then a new cycle begins`() {
        let found = state(after: [(.captured, .plain), (.won, .plain), (.reopened, .newBusiness)])
        #expect(found == LeadState(stage: .captured, custody: .inbox, cycle: 1))
    }

    @Test func `Given the last cycle there is, when the lead would begin anew, then that alone is refused`() {
        let last = LeadState(stage: .opportunity, custody: .owner, cycle: LeadState.cycleMax)
        #expect(Lifecycle.evolve(last, .recycled) == .refused(.transitionRefused))
        guard case .next(let won) = Lifecycle.evolve(last, .won) else {
            Issue.record("a win was refused")
            return
        }
        #expect(won.cycle == LeadState.cycleMax)
        #expect(Lifecycle.evolve(won, .reopened, .newBusiness) == .refused(.transitionRefused))
        #expect(Lifecycle.evolve(won, .reopened, .unWin) != .refused(.transitionRefused))
    }

    @Test func `Given an assignment at the win, as imports have it, then the lead is won`() {
        #expect(state(after: .captured, .assigned, .assigned, .won)?.stage == .won)
    }

    // MARK: - Bytes

    @Test func `The bytes of a state are those drawn`() {
        #expect(LeadState.created.rawValue == 0x0000_0000_0001_0001)
        var state = LeadState.created
        for (event, variant) in [
            (EventType.recycled, EventVariant.plain), (.recycled, .plain), (.marketingQualified, .plain),
            (.offered, .plain),
            (.won, .plain),
        ] {
            guard case .next(let next) = Lifecycle.evolve(state, event, variant) else { break }
            state = next
        }
        #expect(state.rawValue == 0x0000_0200_0000_032B)
    }

    @Test func `Bytes that no lead can have are not taken for a state`() {
        #expect(LeadState(rawValue: 0) == nil)
        #expect(LeadState(rawValue: 0x0000_0000_0001_0001)?.stage == .captured)
        for broken: UInt64 in [
            0x0000_0000_0000_0001,  // open without custody
            0x0000_0000_0001_010C,  // lost with custody
            0x0000_0000_0000_000B,  // won from nowhere
            0x0000_0000_0001_0009,  // no such stage
            0x0000_0000_0006_0001,  // no such custody
            0x0000_0000_0001_0003,  // offered without a stage before
            0x0000_0000_0001_0021,  // a stage before an offer that is not
            0x0000_0000_0003_0001,  // leased from nowhere
            0x0000_0000_0201_0001,  // a bit that means nothing
            0x0000_0000_0000_000E,  // merged from nowhere
        ] {
            #expect(LeadState(rawValue: broken) == nil, "\(String(broken, radix: 16))")
        }
    }

    // MARK: - Random walks

    @Test(arguments: 1...20)
    func `On any walk a live lead has one custody, an ended one none, and cycles only grow`(seed: Int) {
        var generator = SeededGenerator(seed: UInt64(seed))
        var trace: [String] = []
        var state: LeadState?
        for _ in 0..<3_000 {
            let (event, variant, _) = LifecycleTests.grid.randomElement(using: &generator)!
            let isRareEnd = event == .erased && Int.random(in: 0..<40, using: &generator) != 0
            if isRareEnd { continue }
            guard
                case .next(let next) = Lifecycle.evolve(state, event, variant, backfill: Bool.random(using: &generator))
            else { continue }
            trace.append("\(event.name)(\(variant.word))")
            let cycleBefore = state?.cycle ?? 0
            let isHealthy =
                next.stage.isOpen == (next.custody != .none) && next.cycle >= cycleBefore
                && next.cycle <= cycleBefore + 1
                && next.invariantBroken == nil && LeadState(rawValue: next.rawValue) == next
            guard isHealthy else {
                Issue.record("seed \(seed): \(next) after \(trace.suffix(12))")
                return
            }
            state = next
            if next.stage == .erased { state = nil }
        }
        #expect(trace.count > 300)
    }
}
