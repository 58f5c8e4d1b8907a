/// The names of all errors on the wire, and with each its JSON-RPC code, exit code and hint.
///
/// `schemas/errors.json` is the registry that users read; a test compares it with this table line by line. Programs compare
/// names; codes and names never change once released, hints may.
package enum ErrorName: String, CaseIterable, Sendable {
    // The line and the request.
    case parseError = "parse_error"
    case invalidRequest = "invalid_request"
    case methodNotFound = "method_not_found"
    case invalidParams = "invalid_params"
    case internalError = "internal_error"
    case frameTooLarge = "frame_too_large"
    case lineUnfinished = "line_unfinished"

    // Who asks, and when.
    case notAllowed = "not_allowed"
    case busy = "busy"
    case shuttingDown = "shutting_down"

    // What the request says.
    case duplicateMember = "duplicate_member"
    case missingField = "missing_field"
    case wrongType = "wrong_type"
    case unknownField = "unknown_field"
    case versionConflict = "version_conflict"
    case invalidValue = "invalid_value"
    case unknownEventType = "unknown_event_type"
    case reservedType = "reserved_type"
    case personalID = "personal_id"
    case invalidTime = "invalid_time"
    case timeInFuture = "time_in_future"
    case eventTooLarge = "event_too_large"
    case duplicateNameInUnit = "duplicate_name_in_unit"
    case idReused = "id_reused"
    case partialDuplicate = "partial_duplicate"
    case transitionRefused = "transition_refused"
    case unknownLead = "unknown_lead"

    // The log.
    case ledgerFull = "ledger_full"
    case diskFull = "disk_full"
    case clockBehind = "clock_behind"
    case outcomeUnknown = "outcome_unknown"
    case poisoned = "poisoned"
    case corrupted = "corrupted"

    // Read models and subscriptions.
    case unknownProjection = "unknown_projection"
    case rebuilding = "rebuilding"
    case deadlineExceeded = "deadline_exceeded"
    case unknownSubscription = "unknown_subscription"
    case subscriptionLimit = "subscription_limit"
    case positionOutOfRange = "position_out_of_range"
    case unknownSchema = "unknown_schema"
    case rebuildRunning = "rebuild_running"

    // Consumer groups.
    case unknownGroup = "unknown_group"
    case groupExists = "group_exists"
    case groupLimit = "group_limit"
    case staleToken = "stale_token"
    case notParked = "not_parked"
    case groupBuiltIn = "group_built_in"

    // Rule sets, routing and clocks.
    case ruleSetRefused = "rule_set_refused"
    case unknownPolicy = "unknown_policy"
    case unknownVersion = "unknown_version"
    case activationInPast = "activation_in_past"
    case approvalRequired = "approval_required"
    case noRuleSet = "no_rule_set"
    case unknownMember = "unknown_member"
    case unknownPool = "unknown_pool"
    case leadHeld = "lead_held"
    case notWaiting = "not_waiting"
    case pickingRefused = "picking_refused"
    case memberIneligible = "member_ineligible"
    case staleLease = "stale_lease"
    case unknownClock = "unknown_clock"
    case routerBehind = "router_behind"
}

/// One line of the table.
package struct ErrorEntry: Sendable {
    /// The `code` of the JSON-RPC error object. Below -32000 ours begin.
    package let code: Int
    /// What the command line exits with when this is the worst that happened.
    package let exitCode: Int32
    /// What to look at or to run.
    package let hint: StaticString

    init(_ code: Int, _ exitCode: Int32, _ hint: StaticString) {
        self.code = code
        self.exitCode = exitCode
        self.hint = hint
    }
}

extension ErrorName {
    package var code: Int { entry.code }
    package var exitCode: Int32 { entry.exitCode }
    package var hint: StaticString { entry.hint }

    package var entry: ErrorEntry {
        switch self {
        case .parseError:
            ErrorEntry(
                -32_700, 65,
                "The line is not JSON as RFC 8259 has it, in UTF-8, nested at most 32 deep. Look at the offset.")
        case .invalidRequest:
            ErrorEntry(
                -32_600, 65,
                #"A request is one object on one line: {"jsonrpc":"2.0","id":1,"method":"status","params":{}}."#)
        case .methodNotFound: ErrorEntry(-32_601, 64, "`schema.get` lists the methods and their parameters.")
        case .invalidParams:
            ErrorEntry(-32_602, 65, "`params` is an object; `schema.get` with the method's name shows what it takes.")
        case .internalError:
            ErrorEntry(
                -32_603, 70, "This is a bug in the daemon. Keep the request and the daemon's log lines and report them."
            )
        case .frameTooLarge: ErrorEntry(-32_001, 65, "A line holds at most 1 MiB. Send fewer events in one request.")
        case .lineUnfinished:
            ErrorEntry(
                -32_002, 65, "A line that was begun must end with a newline within 10 seconds. Send it in one piece.")
        case .notAllowed: ErrorEntry(-32_003, 77, "Only root and the user that the daemon runs as are served.")
        case .busy:
            ErrorEntry(-32_004, 69, "Wait for retry_after_ms and try again; fewer connections or smaller bursts help.")
        case .shuttingDown:
            ErrorEntry(-32_005, 69, "The daemon is stopping. Nothing was stored; try again when it is back.")
        case .duplicateMember: ErrorEntry(-32_006, 65, "A member name stands twice in one object. Send it once.")
        case .missingField:
            ErrorEntry(-32_007, 65, "Add the field that is named; `schema.get` shows which are required.")
        case .wrongType: ErrorEntry(-32_008, 65, "`schema.get` shows the type of each field.")
        case .unknownField:
            ErrorEntry(
                -32_009, 65, "Remove the field, or keep it under data.custom; `schema.get` shows the fields there are.")
        case .versionConflict:
            ErrorEntry(
                -32_010, 65,
                "Others appended to the lead first. Look at what they added, decide again, and expect the current version."
            )
        case .invalidValue: ErrorEntry(-32_011, 65, "`schema.get` shows which values the field takes.")
        case .unknownEventType: ErrorEntry(-32_012, 65, "`schema.get` without a name lists the event types.")
        case .reservedType: ErrorEntry(-32_013, 65, "Only the daemon writes this. Use the method that leads to it.")
        case .personalID:
            ErrorEntry(
                -32_014, 65,
                "Identifiers are kept in the clear for ever. Use an opaque id and put the address into data.")
        case .invalidTime:
            ErrorEntry(
                -32_015, 65, "Write instants as RFC 3339 with at most 6 fractional digits: 2026-03-01T09:00:00.123456Z."
            )
        case .timeInFuture:
            ErrorEntry(
                -32_016, 65,
                "Check the sender's clock and zone; `time` may be at most 5 minutes ahead of the daemon's clock.")
        case .eventTooLarge:
            ErrorEntry(-32_017, 65, "An event's record is at most 60 KiB. Keep documents elsewhere and refer to them.")
        case .duplicateNameInUnit:
            ErrorEntry(
                -32_018, 65, "Two events of one request have the same subject, source and id. Send each event once.")
        case .idReused:
            ErrorEntry(
                -32_019, 65,
                "This subject, source and id already name another event. Give the new event an id of its own.")
        case .partialDuplicate:
            ErrorEntry(
                -32_020, 65,
                "Some of these events are stored already. Leave them out, or send the very unit that stored them.")
        case .transitionRefused:
            ErrorEntry(
                -32_021, 65,
                "The lead's lifecycle does not allow this now; `lead.get` shows the state. Imports of the past use backfill."
            )
        case .unknownLead:
            ErrorEntry(-32_022, 65, "A lead begins with lead.captured. Check the id, or capture the lead first.")
        case .ledgerFull:
            ErrorEntry(
                -32_030, 74,
                "The log has reached its map size. Raise it in the configuration and start again; reads go on.")
        case .diskFull: ErrorEntry(-32_031, 74, "Free space on the device of the log. Nothing was stored; reads go on.")
        case .clockBehind:
            ErrorEntry(
                -32_032, 69, "The daemon's clock is more than 5 minutes behind the last record. Put the clock right.")
        case .outcomeUnknown:
            ErrorEntry(
                -32_033, 75,
                "The device failed while storing. Send the same events again when the daemon is back: none is stored twice."
            )
        case .poisoned:
            ErrorEntry(
                -32_034, 74,
                "The log's device failed and the daemon takes no more writes. Look at the device before starting again."
            )
        case .corrupted:
            ErrorEntry(
                -32_035, 74, "A stored record does not match its hash. Stop the daemon and run `leadledgerd check`.")
        case .unknownProjection: ErrorEntry(-32_040, 65, "`projection.list` names the read models.")
        case .rebuilding:
            ErrorEntry(
                -32_041, 69,
                "The read model is being rebuilt; `projection.list` shows how far it is. Try again after retry_after_ms."
            )
        case .deadlineExceeded:
            ErrorEntry(
                -32_042, 69, "The events are stored; the read model has not reached them yet. Ask it again later.")
        case .unknownSubscription:
            ErrorEntry(
                -32_043, 65, "Subscriptions end with their connection. Subscribe again from the last position seen.")
        case .subscriptionLimit:
            ErrorEntry(-32_044, 69, "End a subscription with log.unsubscribe, or use another connection.")
        case .positionOutOfRange: ErrorEntry(-32_045, 65, "`status` shows where the log ends.")
        case .unknownSchema: ErrorEntry(-32_046, 65, "`schema.get` without a name lists the schemas.")
        case .rebuildRunning:
            ErrorEntry(
                -32_047, 69, "A rebuild of this read model is under way; `projection.list` shows how far it is.")
        case .unknownGroup:
            ErrorEntry(
                -32_050, 65, "`consumer.status` without a group lists those there are; `consumer.create` makes one.")
        case .groupExists:
            ErrorEntry(
                -32_051, 65,
                "`consumer.status` shows its terms. Take another name, or delete the group first: its progress goes with it."
            )
        case .groupLimit:
            ErrorEntry(
                -32_052, 69, "Delete consumer groups that nobody uses; `consumer.status` lists them.")
        case .staleToken:
            ErrorEntry(
                -32_053, 65,
                "The lease is over, or was settled. Do nothing more for it: the event is done, parked, or comes again with another token."
            )
        case .notParked:
            ErrorEntry(
                -32_054, 65, "`consumer.status` lists what is parked.")
        case .groupBuiltIn:
            ErrorEntry(
                -32_055, 65,
                "Every ledger has this group: claim from it. It is neither created nor deleted; take another name for one of your own."
            )
        case .ruleSetRefused:
            ErrorEntry(
                -32_060, 65,
                "The list says what is wrong and where. `leadledger policy check FILE` says the same without a daemon.")
        case .unknownPolicy:
            ErrorEntry(
                -32_061, 65,
                "`policy.history` lists the policies and their versions.")
        case .unknownVersion:
            ErrorEntry(
                -32_062, 65,
                "A version is the position of its policy.published; `policy.history` lists them.")
        case .activationInPast:
            ErrorEntry(
                -32_063, 65,
                "A rule set takes effect now or later: leave `at` out, or name a later instant.")
        case .approvalRequired:
            ErrorEntry(
                -32_064, 77,
                "Another user than the publisher must approve this version first: `policy.approve`.")
        case .noRuleSet:
            ErrorEntry(
                -32_065, 65,
                "No rule set is in force. Publish and activate one: `leadledger policy publish FILE --activate`.")
        case .unknownMember:
            ErrorEntry(
                -32_066, 65,
                "`member.list` names the members of the rule set in force.")
        case .unknownPool:
            ErrorEntry(
                -32_067, 65,
                "`policy.show` shows the pools of the rule set in force.")
        case .leadHeld:
            ErrorEntry(
                -32_068, 65,
                "Somebody has the lead; the error says who and until when.")
        case .notWaiting:
            ErrorEntry(
                -32_069, 65,
                "Only a lead in the inbox or a queue can be claimed or routed; `lead.get` shows where it is.")
        case .pickingRefused:
            ErrorEntry(
                -32_070, 65,
                "The pool does not let members claim a lead by name, or not yet. Claim the next one.")
        case .memberIneligible:
            ErrorEntry(
                -32_071, 65,
                "The reasons are listed. To assign all the same, give a reason with `queue.assign`.")
        case .staleLease:
            ErrorEntry(
                -32_072, 65,
                "The lease is over: expired, taken or released. Claim again.")
        case .unknownClock:
            ErrorEntry(
                -32_073, 65,
                "The lead has no such clock that runs or is paused; `lead.history` shows its clocks.")
        case .routerBehind:
            ErrorEntry(
                -32_074, 69,
                "The router is still reading the log. Try again after retry_after_ms.")
        }
    }
}
