/// Why a lead was given by hand to a member who was not eligible: what spoke against them, and the reason that was stored.
package struct AssignmentOverride: Equatable, Sendable {
    package var refusals: [DecisionRecord.Refusal]
    package var reason: String

    package init(refusals: [DecisionRecord.Refusal], reason: String) {
        self.refusals = refusals
        self.reason = reason
    }
}
