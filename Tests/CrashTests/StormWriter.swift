import Glibc
import Synchronization
import TestSupport

/// One of the clients of the storm: a thread of its own, a connection of its own, units pipelined, and what was unanswered
/// when the daemon died sent again, first, when it is back.
///
/// One thread at a time: the test looks at it only between rounds.
final class StormWriter: @unchecked Sendable {
    // Sendable: see above.
    let number: Int
    private(set) var units: [Unit] = []
    /// Indices of units without an answer, in the order they are to be sent.
    private(set) var unanswered: [Int] = []
    /// Indices of units that were answered since the test last took them.
    private var answered: [Int] = []
    private(set) var faults: [String] = []
    private(set) var repeatedAndThere = 0
    private(set) var repeatedAndNew = 0
    /// Leads of its own that are open.
    private var open: [String] = []
    private var captured = 0
    private var random: SeededGenerator
    private let acknowledged: AcknowledgedHead

    /// Units on their way at once.
    private static let window = 24
    /// Leads that every writer writes to; captured before the storm with `setupParams`.
    static let sharedLeads = (0..<40).map { "shared-\($0)" }

    static func setupParams(_ lead: String) -> String {
        #"{"events":[{"id":"first","source":"urn:storm:setup","type":"lead.captured","subject":"\#(lead)","data":{"channel":"fair"}}]}"#
    }

    init(number: Int, seed: UInt64, acknowledged: AcknowledgedHead) {
        self.number = number
        random = SeededGenerator(seed: seed &+ UInt64(number) &* 1_000_003)
        self.acknowledged = acknowledged
    }

    /// Writes until the connection ends, or until `isDone`; then waits for all answers.
    func write(to socket: String, isDone: () -> Bool = { false }) {
        do {
            let client = try LineClient(socket)
            var waiting = unanswered
            var inFlight: [Int] = []
            var next = 0
            while true {
                while inFlight.count - next < Self.window {
                    let index: Int
                    if let first = waiting.first {
                        waiting.removeFirst()
                        index = first
                    } else {
                        if isDone() { break }
                        index = makeUnit()
                        unanswered.append(index)
                    }
                    inFlight.append(index)
                    try client.send(line: request(index, "append", units[index].params))
                }
                guard next < inFlight.count else { return }
                guard let line = try client.line() else { return }
                take(try JSONTree(line), for: inFlight[next])
                next += 1
            }
        } catch let failure as SystemFailure where [EPIPE, ECONNRESET, ECONNREFUSED, ENOENT].contains(failure.code) {
            // The daemon is gone.
        } catch {
            faults.append("writer \(number): \(error)")
        }
    }

    /// The units that were answered since the last call.
    func takeAnswered() -> [Unit] {
        defer { answered = [] }
        return answered.map { units[$0] }
    }

    /// After a restart, and before anything is sent again: notes which unanswered units are in the log.
    func look(in history: inout History) {
        for index in unanswered {
            units[index].found = history.look(for: units[index])
            units[index].wasLookedFor = true
        }
    }

    private func take(_ reply: JSONTree, for index: Int) {
        guard reply["id"].integer == index else {
            return faults.append("writer \(number): an answer to \(index) was due, and \(reply) came")
        }
        let unit = units[index]
        unanswered.removeAll { $0 == index }
        answered.append(index)
        let result = reply["result"]
        if result.isPresent {
            // told-for-ever.
            let isDuplicate = result["duplicate"].boolean
            if let found = unit.found {
                repeatedAndThere += 1
                if isDuplicate != true || result["first"].integer != found.lowerBound
                    || result["last"].integer != found.upperBound
                {
                    faults.append("told-for-ever: \(unit.names) is at \(found), the repetition got \(result)")
                }
            } else {
                if unit.wasLookedFor { repeatedAndNew += 1 }
                if isDuplicate != false {
                    faults.append("told-for-ever: \(unit.names) was not there, and got \(result)")
                }
            }
            units[index].outcome = .acked(result)
            acknowledged.raise(to: result["last"].integer ?? -1)
        } else {
            let name = reply["error"]["data"]["name"].string ?? "?"
            if unit.found != nil { faults.append("told-for-ever: \(unit.names) is there, the repetition got \(reply)") }
            if name != "transition_refused" { faults.append("writer \(number): unexpected refusal \(reply)") }
            units[index].outcome = .refused(name)
        }
    }

    // MARK: What is written

    private func makeUnit() -> Int {
        let index = units.count
        var names: [EventName] = []
        var events: [String] = []
        func event(_ subject: String, _ type: String, _ data: String) {
            let name = EventName(subject: subject, source: "urn:storm:\(number)", id: "u\(index)-\(events.count)")
            names.append(name)
            events.append(
                #"{"id":"\#(name.id)","source":"\#(name.source)","type":"\#(type)","subject":"\#(subject)","data":\#(data)}"#
            )
        }
        func capture() -> String {
            captured += 1
            let lead = "w\(number)-\(captured)"
            let channel = ["paid-search", "referral", "", "event"][captured % 4]
            event(lead, "lead.captured", #"{"channel":"\#(channel)","first_name":"Ada","message":"\#(filler())"}"#)
            open.append(lead)
            return lead
        }
        var extra = ""
        let shared = Self.sharedLeads.randomElement(using: &random)!
        switch Int.random(in: 0..<100, using: &random) {
        case _ where open.count < 3, 0..<25:
            extra = #","expect":[{"lead":"\#(capture())","version":"none"}]"#
        case 25..<40:
            let lead = capture()
            event(lead, "lead.touched", #"{"channel":"email","kind":"open"}"#)
            event(lead, "lead.assigned", #"{"member":"m-\#(number)","mode":"push"}"#)
        case 40..<55: event(ownLead(), "lead.touched", #"{"channel":"webinar","kind":"webinar"}"#)
        case 55..<63: event(ownLead(), "lead.noted", #"{"text":"\#(filler())"}"#)
        case 63..<68: event(ownLead(), "lead.queued", #"{"queue":"q1"}"#)
        case 68..<75:
            event(shared, "lead.touched", #"{"channel":"call","kind":"call"}"#)
            event(ownLead(), "lead.contact_attempted", #"{"by":"m-\#(number)","medium":"call"}"#)
        // The following may be refused, since another writer may have ended the lead, or begun it again.
        case 75..<80: event(shared, "lead.contacted", #"{"by":"m-\#(number)","medium":"email"}"#)
        case 80..<83: event(shared, "lead.lost", #"{"reason":"no_budget"}"#)
        case 83..<88: event(shared, "lead.reopened", #"{"kind":"resume"}"#)
        default:
            let lead = ownLead()
            event(lead, "lead.won", #"{"amount":\#(100 + index % 1_000),"currency":"EUR"}"#)
            open.removeAll { $0 == lead }
        }
        if random.chance(2) { extra += #","wait":{"projection":"queue"}"# }
        units.append(
            Unit(
                names: names, params: #"{"events":[\#(events.joined(separator: ","))]\#(extra)}"#,
                floor: acknowledged.position))
        return index
    }

    private func ownLead() -> String { open.randomElement(using: &random)! }

    /// Mostly short, now and then more than a page.
    private func filler() -> String {
        String(repeating: "x", count: random.chance(3) ? 6_000 : Int.random(in: 0..<300, using: &random))
    }
}

/// The greatest position that was acknowledged to anybody.
final class AcknowledgedHead: Sendable {
    private let value = Mutex(-1)
    var position: Int { value.withLock { $0 } }
    func raise(to position: Int) { value.withLock { $0 = max($0, position) } }
}
