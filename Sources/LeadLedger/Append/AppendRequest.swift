import Control
import JSON
import Leads
import Ledger
import Projections

// AppendRequest: the parameters of `append`, and of one unit of `append.many`, become a unit and its terms.

/// What a request asks for besides that its events be stored. Few do, so it is not carried along by value.
final class AppendTerms {
    let wait: AppendWait
    let isDryRun: Bool
    /// The leads of `expect`, in its order.
    let expectedLeads: [String]

    init(wait: AppendWait, isDryRun: Bool, expectedLeads: [String]) {
        self.wait = wait
        self.isDryRun = isDryRun
        self.expectedLeads = expectedLeads
    }
}

/// Checks what a request says and encodes it. The same for every way in.
struct UnitReader {
    let intake: EventIntake
    let models: ReadModelSet
    /// The schema of `append`'s parameters.
    let parameters: JSONSchema

    /// Fills `unit` from an object with `events`, `expect`, `wait` and `dry_run`.
    ///
    /// - Parameter actor: the peer's uid.
    /// - Parameter instant: the daemon's clock, microseconds since 1970.
    func read(
        _ params: JSONValue, into unit: AppendUnit, actor: UInt32, now instant: Int64
    ) throws(AppendFault) -> AppendTerms? {
        if let violation = parameters.validate(params) { throw AppendFault(violation, at: "") }
        let expectedLeads = try readEvents(params, into: unit, actor: actor, now: instant)
        guard params.count > 1 else { return nil }
        let wait = try AppendWait(params["wait"], models)
        let isDryRun = params["dry_run"]?.boolean == true
        if isDryRun {
            guard wait == .synced else {
                throw AppendFault(.invalidValue, "/wait", "a dry run stores nothing that a read model could have")
            }
            unit.makeDryRun()
        }
        return AppendTerms(wait: wait, isDryRun: isDryRun, expectedLeads: expectedLeads)
    }

    /// Fills `unit` from the members `events` and `expect` of an object that passed its schema.
    ///
    /// - Returns: the leads of `expect`, in its order.
    func readEvents(
        _ params: JSONValue, into unit: AppendUnit, actor: UInt32, now instant: Int64
    ) throws(AppendFault) -> [String] {
        var expectedLeads: [String] = []
        var expectations: JSONValue?
        for member in params.members {
            if member.name.equals("events") {
                var index = 0
                for event in member.value.elements {
                    try intake.add(event, index: index, actor: actor, now: instant, to: unit)
                    index += 1
                }
            } else if member.name.equals("expect") {
                expectations = member.value
            }
        }
        guard let expectations else { return expectedLeads }
        var index = 0
        for expectation in expectations.elements {
            guard let lead = expectation["lead"] else { continue }
            unit.expect(
                stream: StreamKey(kind: LeadStreams.kind, subject: lead.utf8),
                try ExpectedVersion(expectation["version"], at: "/expect/\(index)"))
            expectedLeads.append(lead.string ?? "")
            index += 1
        }
        return expectedLeads
    }
}

/// When an append is answered.
enum AppendWait: Equatable, Sendable {
    /// When the events are durable.
    case synced
    /// When they are also in this read model, or at the deadline.
    case projection(String, milliseconds: Int64)

    /// - Parameter value: the member `wait`, whose form its schema leaves open.
    init(_ value: JSONValue?, _ models: ReadModelSet) throws(AppendFault) {
        guard let value, !value.equals("synced") else {
            self = .synced
            return
        }
        guard value.kind == .object else {
            throw AppendFault(.invalidValue, "/wait", "wait is \"synced\" or an object with `projection`")
        }
        var name: String?
        var milliseconds = Limits.waitDefaultMilliseconds
        for member in value.members {
            if member.name.equals("projection") {
                name = member.value.string
                guard name != nil else {
                    throw AppendFault(.wrongType, "/wait/projection", "it is the name of a read model")
                }
            } else if member.name.equals("deadline_ms") {
                guard let number = member.value.int64, (0...Limits.waitMaxMilliseconds).contains(number) else {
                    throw AppendFault(
                        .invalidValue, "/wait/deadline_ms",
                        "it is a whole number of milliseconds from 0 to \(Limits.waitMaxMilliseconds)")
                }
                milliseconds = number
            } else {
                throw AppendFault(.unknownField, "/wait", "wait has no member \"\(member.name.string ?? "")\"")
            }
        }
        guard let name else { throw AppendFault(.missingField, "/wait", "projection is required") }
        guard models.hasModel(name) else {
            throw AppendFault(.unknownProjection, "/wait/projection", "no read model is called \(name)")
        }
        self = .projection(name, milliseconds: milliseconds)
    }
}

extension ExpectedVersion {
    /// The member `version` of an expectation.
    init(_ value: JSONValue?, at pointer: String) throws(AppendFault) {
        if let number = value?.uint64 {
            self = .version(StreamVersion(rawValue: number))
        } else if value?.equals("none") == true {
            self = .none
        } else if value?.equals("any") == true {
            self = .any
        } else {
            throw AppendFault(
                .invalidValue, pointer + "/version", "version is a whole number from 0, \"none\" or \"any\"")
        }
    }

    func write(to writer: inout JSONWriter) {
        switch self {
        case .version(let version): writer.integer(version.rawValue)
        case .none: writer.string("none")
        case .any: writer.string("any")
        }
    }
}
