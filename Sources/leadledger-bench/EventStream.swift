import Glibc

// EventStream: the load, as a pure function of its seed. An event picks one of the stream's leads, all equally likely unless
// told otherwise; the first event of a lead captures it, every later one is a touch. So no event is refused, whatever else is
// in the ledger.

/// The events of one connection. Connections share no leads, since nothing orders what two of them send.
struct EventStream {
    /// Which lead an event is about.
    enum Pick {
        /// Any, all equally likely; the first event of each captures it.
        case uniform
        /// Each in turn, and so each captured once, in as many events as there are leads.
        case inTurn
        /// Any, all equally likely, and all captured before: touches alone.
        case captured
    }

    /// What the next event is.
    struct Draw: Equatable {
        /// Counts the stream's events; it is in the request id and the event id.
        var number: UInt64
        var lead: UInt64
        var template: Int
    }

    let templates: EventTemplates
    private let member: UInt64
    private let members: UInt64
    private let leads: UInt64
    private var random: RandomBits
    private var captured: [UInt64]
    private let pick: Pick
    /// The number of the first event. Two streams on one ledger that share leads need to be far apart in it.
    let firstNumber: UInt64
    private var number: UInt64

    /// The stream of connection `member` of `members`, which has the leads `member`, `member + members`, ... below `leads`.
    init(
        templates: EventTemplates, seed: UInt64, leads: Int, member: Int = 0, of members: Int = 1,
        pick: Pick = .uniform, firstNumber: UInt64 = EventTemplate.firstNumber
    ) {
        precondition(member < members && leads >= members)
        self.templates = templates
        self.member = UInt64(member)
        self.members = UInt64(members)
        self.leads = UInt64((leads - member + members - 1) / members)
        random = RandomBits(state: seed &+ UInt64(member) &* 0x5851_F42D_4C95_7F2D)
        captured = Array(repeating: pick == .captured ? .max : 0, count: Int(self.leads / 64) + 1)
        self.pick = pick
        self.firstNumber = firstNumber
        number = firstNumber
    }

    mutating func next() -> Draw {
        let bits = random.next()
        // The high half of a product picks without a division, and without a bias that matters for 2^20 of 2^61.
        let own =
            pick == .inTurn ? (number - firstNumber) % leads : (bits >> 3).multipliedFullWidth(by: leads << 3).high
        let word = Int(own / 64)
        let bit = UInt64(1) << (own % 64)
        let isCapture = captured[word] & bit == 0
        captured[word] |= bit
        defer { number += 1 }
        return Draw(
            number: number, lead: own * members + member,
            template: Int(bits & 7) + (isCapture ? 0 : EventTemplates.variants))
    }

    /// Writes the next request, `templates.lineBytes` bytes.
    mutating func writeLine(to target: UnsafeMutableRawPointer) {
        let draw = next()
        let template = templates.all[draw.template]
        template.line.withUnsafeBytes { target.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        storeDigits(draw.number, at: target + template.requestIDOffset)
        storeDigits(draw.number, at: target + template.eventIDOffset)
        storeDigits(draw.lead, at: target + template.subjectOffset)
        storeInstant(draw.number - EventTemplate.firstNumber, at: target + template.timeOffset)
    }

    /// Writes the JSON of the next event alone, `EventTemplate.eventBytes` bytes.
    mutating func writeEvent(to target: UnsafeMutableRawPointer) {
        let draw = next()
        let template = templates.all[draw.template]
        let start = template.event.lowerBound
        template.line.withUnsafeBytes {
            target.copyMemory(from: $0.baseAddress! + start, byteCount: EventTemplate.eventBytes)
        }
        storeDigits(draw.number, at: target + (template.eventIDOffset - start))
        storeDigits(draw.lead, at: target + (template.subjectOffset - start))
        storeInstant(draw.number - EventTemplate.firstNumber, at: target + (template.timeOffset - start))
    }

    /// Writes the record of the next event, at most `templates.recordBytesMax` bytes, as it lies in a log at `position`.
    mutating func writeRecord(to target: UnsafeMutableRawPointer, position: UInt64) -> Int {
        writeRecordAndTellLead(to: target, position: position).byteCount
    }

    mutating func writeRecordAndTellLead(
        to target: UnsafeMutableRawPointer, position: UInt64
    ) -> (byteCount: Int, lead: UInt64) {
        let draw = next()
        let template = templates.all[draw.template]
        template.record.withUnsafeBytes { target.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        storeDigits(draw.number, at: target + template.recordEventIDOffset)
        storeDigits(draw.lead, at: target + template.recordSubjectOffset)
        (target + template.record.count - 32).storeBytes(of: position.bigEndian, as: UInt64.self)
        return (template.record.count, draw.lead)
    }
}

/// Captures and touches of a few channels and campaigns.
struct EventTemplates {
    /// Of each kind; a power of two, so that three random bits choose.
    static let variants = 8

    /// The captures, then the touches.
    let all: [EventTemplate]
    let lineBytes: Int
    let recordBytesMax: Int

    init(tag: Character) {
        let marketing: [(channel: String, source: String, medium: String, campaign: String)] = [
            ("paid-search", "google", "cpc", "spring-pricing"), ("paid-search", "bing", "cpc", "spring-pricing"),
            ("organic-search", "google", "organic", ""), ("social", "linkedin", "paid-social", "founders"),
            ("email", "newsletter", "email", "2025-w12"), ("referral", "partner", "referral", "reseller"),
            ("direct", "", "", ""), ("display", "google", "display", "retargeting"),
        ]
        precondition(marketing.count == Self.variants)
        let kinds = ["click", "click", "visit", "click", "open", "call", "visit", "webinar"]
        func common(_ index: Int) -> [String] {
            let entry = marketing[index]
            return [
                #""channel":"\#(entry.channel)""#, #""source":"\#(entry.source)""#, #""medium":"\#(entry.medium)""#,
                #""campaign":"\#(entry.campaign)""#, #""landing_page":"/pricing""#,
            ]
        }
        let captures = (0..<Self.variants).map { index in
            EventTemplate(
                tag: tag, isCapture: true, publicMembers: common(index) + [#""country":"DE""#],
                personalMembers: [#""first_name":"Kim""#, #""email":"kim@example.com""#])
        }
        let touches = (0..<Self.variants).map { index in
            EventTemplate(
                tag: tag, isCapture: false,
                publicMembers: common(index) + [#""kind":"\#(kinds[index])""#, #""direction":"inbound""#],
                personalMembers: [])
        }
        all = captures + touches
        lineBytes = captures[0].line.count
        recordBytesMax = all.map(\.record.count).max() ?? 0
        // One byte differs in the names of the types: the event's padding takes it up.
        precondition(all.allSatisfy { $0.line.count == lineBytes })
    }
}

/// SplitMix64: the same numbers from the same seed on any machine.
struct RandomBits {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

// MARK: - Patching

/// Writes `value` as ten decimal digits.
@inline(__always)
func storeDigits(_ value: UInt64, at target: UnsafeMutableRawPointer) {
    var rest = value
    for place in stride(from: EventTemplate.digits - 1, through: 0, by: -1) {
        let (quotient, digit) = rest.quotientAndRemainder(dividingBy: 10)
        target.storeBytes(of: UInt8(ascii: "0") + UInt8(truncatingIfNeeded: digit), toByteOffset: place, as: UInt8.self)
        rest = quotient
    }
}

/// Writes month, day and time of the event that is `second` seconds into 2025 over `2025-01-01T00:00:00Z`. Months have 28
/// days here, and after 336 days it begins anew: every value is a real instant, which is all that is wanted.
@inline(__always)
func storeInstant(_ second: UInt64, at target: UnsafeMutableRawPointer) {
    let day = second / 86_400
    storePair(day / 28 % 12 + 1, at: target + 5)
    storePair(day % 28 + 1, at: target + 8)
    storePair(second / 3_600 % 24, at: target + 11)
    storePair(second / 60 % 60, at: target + 14)
    storePair(second % 60, at: target + 17)
}

@inline(__always)
private func storePair(_ value: UInt64, at target: UnsafeMutableRawPointer) {
    target.storeBytes(of: UInt8(ascii: "0") + UInt8(truncatingIfNeeded: value / 10), as: UInt8.self)
    target.storeBytes(of: UInt8(ascii: "0") + UInt8(truncatingIfNeeded: value % 10), toByteOffset: 1, as: UInt8.self)
}
