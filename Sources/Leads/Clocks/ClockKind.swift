/// What a response clock waits for. The raw values are on disk: `clock` of the `lead.clock_*` events.
package enum ClockKind: String, Sendable, CaseIterable {
    case accept
    case firstResponse = "first_response"
    case qualify
    case followUp = "follow_up"
    case stageAge = "stage_age"

    var word: StaticString {
        switch self {
        case .accept: "accept"
        case .firstResponse: "first_response"
        case .qualify: "qualify"
        case .followUp: "follow_up"
        case .stageAge: "stage_age"
        }
    }

    /// Orders what is owed by one lead at one instant.
    var rank: Int {
        switch self {
        case .accept: 0
        case .firstResponse: 1
        case .qualify: 2
        case .followUp: 3
        case .stageAge: 4
        }
    }

    /// Whether reopening the lead resumes a clock that its end had stopped. The others belong to an assignment: a reopened lead
    /// lies in the inbox and is assigned anew, which starts them anew.
    var isResumedByReopening: Bool { self == .firstResponse || self == .qualify || self == .stageAge }
}

extension TargetKind {
    package var clock: ClockKind {
        switch self {
        case .accept: .accept
        case .firstResponse: .firstResponse
        case .qualify: .qualify
        case .followUp: .followUp
        case .stageAge: .stageAge
        }
    }
}

/// Every bound of the response clocks, with its unit and its reason.
package enum ClockLimits {
    /// Seconds that a lead may lie in the inbox before the alarm (SEMANTICS 5.1).
    package static let inboxSecondsMax: Int64 = 5

    /// Seconds in which the only attempt of a cadence may be made where it is due at once and nothing says more: a day. By taste.
    package static let singleAttemptSeconds: Int64 = 86_400
}
