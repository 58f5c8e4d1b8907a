// A decision as `lead.explain` answers it: what the log has of it, and the verdict on each candidate worked out. The article on the
// wire has the members.

import JSON
import Leads

extension JSONWriter {
    /// - Parameter territories: the ids of the rule set's territories in their order, where they are known.
    mutating func decision(_ decision: DecisionRecord, territories: [String]?) {
        beginObject()
        member("policy", decision.policy)
        member("version", decision.version)
        member("basis", decision.basis)
        member("unit", decision.unit)
        member("at", decision.instant)
        member("zones", decision.timeZoneVersion)
        member("seed", decision.seed)
        key("trigger")
        beginObject()
        member("kind", decision.trigger.word.description)
        member("position", decision.triggerPosition)
        endObject()
        key("owners")
        beginArray()
        for owner in decision.owners {
            beginObject()
            member("match", owner.match.rawValue)
            member("member", owner.member)
            member("verdict", owner.refusals.isEmpty ? "chosen" : "refused")
            if !owner.refusals.isEmpty { refusals(owner.refusals, of: owner.member, decision) }
            endObject()
        }
        endArray()
        if let tried = territories.flatMap(decision.tried) { texts("tried", tried) }
        texts("matched", decision.matched)
        member("pool", decision.pool)
        member("language", decision.language)
        key("candidates")
        beginArray()
        for candidate in decision.candidates { self.candidate(candidate, decision) }
        endArray()
        member("absence_ignored", decision.ignoresAbsence)
        member("explored", decision.explores)
        key("path")
        beginArray()
        for step in decision.path {
            beginObject()
            member("by", step.by.word.description)
            member("left", step.left)
            endObject()
        }
        endArray()
        outcome(decision)
        endObject()
    }

    private mutating func outcome(_ decision: DecisionRecord) {
        key("outcome")
        beginObject()
        switch decision.outcome {
        case .matched(let member):
            self.member("kind", "matched")
            self.member("member", member)
        case .picked(let member):
            self.member("kind", "picked")
            self.member("member", member)
            // What the others were given is what the winner pays, in 2^-32 of a turn.
            self.member("paid", decision.turn?.gains.reduce(0) { $0 &+ $1.amount } ?? 0)
        case .manager(let member):
            self.member("kind", "manager")
            self.member("member", member)
        case .queued(let queue, let reason, let due):
            member("kind", "queued")
            member("queue", queue)
            member("reason", reason)
            member("due", due)
        }
        endObject()
    }

    private mutating func candidate(_ candidate: DecisionRecord.Candidate, _ decision: DecisionRecord) {
        beginObject()
        member("member", candidate.member)
        if candidate.isEligible {
            let lost = decision.stepLost(by: candidate)
            member("verdict", candidate.member == decision.member ? "chosen" : "lost")
            if let lost { member("lost_by", lost.word.description) }
        } else {
            member("verdict", "refused")
        }
        // Those of an eligible one are what the pool looks past.
        if !candidate.refusals.isEmpty { refusals(candidate.refusals, of: candidate.member, decision) }
        if let weight = candidate.weight {
            member("weight", weight)
            member("gain", candidate.gain)
            member("owed", candidate.owed)
        }
        if let skill = candidate.skill { member("skill", skill) }
        if let open = candidate.open { member("open", open) }
        if let won = candidate.won, let ended = candidate.ended {
            member("won", won)
            member("ended", ended)
        }
        if let last = candidate.last { member("last", last) }
        endObject()
    }

    private mutating func refusals(
        _ refusals: [DecisionRecord.Refusal], of member: String, _ decision: DecisionRecord
    ) {
        self.refusals(refusals, language: decision.language)
        if let change = decision.counterfactual(for: member, refusals) { self.member("would_have", change) }
    }

    mutating func refusals(_ refusals: [DecisionRecord.Refusal], language: String? = nil) {
        key("refused")
        beginArray()
        for refusal in refusals {
            beginObject()
            member("code", refusal.reason.code.description)
            member("reason", refusal.words(language: language))
            if let count = refusal.count { member("count", count) }
            if let cap = refusal.cap { member("cap", cap) }
            endObject()
        }
        endArray()
    }

    mutating func texts(_ name: StaticString, _ texts: [String]) {
        key(name)
        beginArray()
        for text in texts { string(text) }
        endArray()
    }
}
