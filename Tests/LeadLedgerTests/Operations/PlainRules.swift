import TestSupport

/// A rule set as the model knows it, and its text.
struct PlainRules {
    struct Member {
        var id: String
        var weight: Int
        var openCap: Int?
        /// Nothing else speaks against them but presence and the cap.
        var isPlain: Bool
        var more: String
    }

    struct Pool {
        var id: String
        var members: [String]
        var pushes: Bool
        var strategies: [String]
        var ignoresAbsence: Bool
        var text: String
    }

    var number: Int
    var onLeave: String
    var members: [Member]
    var pools: [Pool]
    /// The pool of leads with `"country":"BR"`; others go to the last pool.
    var brazil: String
    var reroutesWaiting: Bool
    var appliesToRunning: Bool

    static let memberIDs = ["ann", "bob", "cat", "dan", "eve", "fay"]
    static let poolIDs = ["alpha", "beta", "gamma"]
    static let voidingReasons = ["duplicate", "invalid"]

    func member(_ id: String) -> Member? { members.first { $0.id == id } }
    func pool(_ id: String) -> Pool? { pools.first { $0.id == id } }

    /// Whatever rule sets may be, small ones.
    static func random(_ number: Int, onLeave: String, _ random: inout SeededGenerator) -> PlainRules {
        var ids = memberIDs
        ids.removeAll { _ in random.chance(20) }
        if ids.count < 2 { ids = ["ann", "bob"] }
        // Whom leads are handed over to is always there.
        if onLeave == "hand_over", !ids.contains("fay") { ids.append("fay") }
        let members = ids.map { id in
            let cap = random.chance(60) ? Int.random(in: 1...4, using: &random) : nil
            let weight = Int.random(in: 1...3, using: &random)
            var isPlain = true
            var more = "weight: \(weight)"
            var caps = cap.map { ["open: \($0)"] } ?? []
            if random.chance(15) {
                caps.append("daily: \(Int.random(in: 2...9, using: &random))")
                isPlain = false
            }
            if random.chance(15) {
                caps.append("rolling: { count: 2, window: 10m }")
                isPlain = false
            }
            if !caps.isEmpty { more += ", caps: { \(caps.joined(separator: ", ")) }" }
            if random.chance(10) {
                more += ", cooldown: 2m"
                isPlain = false
            }
            return Member(id: id, weight: weight, openCap: cap, isPlain: isPlain, more: more)
        }
        var pools: [Pool] = []
        for (index, id) in poolIDs.enumerated() where index < 2 || random.chance(50) {
            var own = ids.filter { _ in random.chance(65) }
            if own.isEmpty { own = [ids[0]] }
            let pushes = index != 1 || random.chance(50)
            let pulls = index == 1 || random.chance(30)
            let strategies = [["rotation"], ["least_open", "rotation"], ["performance", "rotation"]]
                .randomElement(using: &random)!
            let ignoresAbsence = random.chance(15)
            var text = "strategies: [\(strategies.joined(separator: ", "))]"
            if !pushes { text += ", push: false" }
            if pulls {
                text += ", pull: { lease: \(Int.random(in: 10...300, using: &random))s, picking: \(random.chance(50))"
                if random.chance(20) { text += ", release_cooldown: { releases: 2, window: 1h, cooldown: 5m }" }
                text += " }"
            }
            if ignoresAbsence { text += ", when_everyone_absent: ignore_absence" }
            if random.chance(40) {
                text +=
                    ", max_hops: \(Int.random(in: 0...2, using: &random)), manager: \(ids.randomElement(using: &random)!)"
            }
            if random.chance(80) { text += ", response_targets: [first, accept]" }
            if random.chance(20) { text += ", cadence: try" }
            pools.append(
                Pool(
                    id: id, members: own, pushes: pushes, strategies: strategies, ignoresAbsence: ignoresAbsence,
                    text: text))
        }
        return PlainRules(
            number: number, onLeave: onLeave, members: members, pools: pools,
            brazil: pools.dropLast().randomElement(using: &random)!.id, reroutesWaiting: random.chance(40),
            appliesToRunning: random.chance(30))
    }

    /// As YAML.
    func text(_ random: inout SeededGenerator) -> String {
        var text = "policy: sales\nseed: s\(number)\n"
        text += "reroute_waiting: \(reroutesWaiting)\napply_to_running: \(appliesToRunning)\n"
        text += "owner_match: [\(random.chance(50) ? "account, earlier" : "account")]\n"
        text += "on_leave: \(onLeave)\n"
        if onLeave == "hand_over" { text += "hand_over_to: fay\n" }
        text += "voiding_reasons: [\(Self.voidingReasons.joined(separator: ", "))]\n"
        text += "members:\n"
        for member in members { text += "  - { id: \(member.id), \(member.more) }\n" }
        text += "pools:\n"
        for pool in pools {
            text += "  - { id: \(pool.id), members: [\(pool.members.joined(separator: ", "))], \(pool.text) }\n"
        }
        text += "territories:\n  - { id: brazil, when: 'country == \"BR\"', pool: \(brazil) }\n"
        text += "catch_all: \(pools.last!.id)\n"
        let minutes = Int.random(in: 1...30, using: &random)
        let again = ["queue", "reassign", "recycle"].randomElement(using: &random)!
        text += """
            response_targets:
              - { id: first, kind: first_response, within: \(minutes)m, measure: wall, attempt_answers: true, ladder: [{ at_percent: 50, do: notify, to: holder }, { at_percent: 100, do: \(again) }, { at_percent: 200, do: reassign }] }
              - { id: accept, kind: accept, within: \(minutes * 2)m, measure: wall, ladder: [{ at_percent: 100, do: reassign }, { at_percent: 150, do: manager }] }
            cadences:
              - { id: try, attempts: [0, 1h, 1d], then: \(random.chance(50) ? "queue" : "recycle") }

            """
        return text
    }
}
