import HeapModule
import JSON
import Leads

// SampleGenerator: events of made-up leads in the order of time, the same bytes for the same numbers on any machine.
//
// Each lead has its own random numbers, made from the seed and the lead's number, and at any time just one next event. Leads
// that have a next event wait in a heap by its instant, so memory grows with the leads at work and not with the events.
//
// Invariants:
//   integers-only    No floating point, no hash order, no clock: nothing that differs between machines.
//   lifecycle-first  A lead's next step is chosen among those that its stage and custody allow; a test runs all events
//                    through `Lifecycle.evolve`.
//   half-a-year      Instants lie in 2026-01-01 up to, not including, 2026-07-01. What would happen later does not happen:
//                    the lead stays open.

struct SampleGenerator {
    let leads: Int
    let seed: UInt64

    private var running: Heap<SampleLead> = []
    private var captured = 0
    private var nextCapture: SampleLead?

    /// 2026-01-01T00:00:00Z, in seconds.
    static let firstSecond: Int64 = 1_767_225_600
    /// 181 days.
    static let seconds: Int64 = 181 * 86_400

    init(leads: Int, seed: UInt64) {
        precondition(leads >= 0)
        self.leads = leads
        self.seed = seed
        nextCapture = makeLead(0)
    }

    /// Writes the next event as one line; false when there is none.
    mutating func writeNext(to bytes: inout [UInt8]) -> Bool {
        if let capture = nextCapture, running.min.map({ capture < $0 }) ?? true {
            captured += 1
            nextCapture = makeLead(captured)
            var lead = capture
            lead.writeEvent(seed: seed, to: &bytes)
            if lead.goOn() { running.insert(lead) }
            return true
        }
        guard var lead = running.min else { return false }
        lead.writeEvent(seed: seed, to: &bytes)
        if lead.goOn() { running.replaceMin(with: lead) } else { running.removeMin() }
        return true
    }

    /// Captures are spread evenly over the time there is, each somewhere in its own share of it.
    private func makeLead(_ number: Int) -> SampleLead? {
        guard number < leads else { return nil }
        var random = SampleRandom(seed: seed, stream: UInt64(number))
        let spread = SampleGenerator.seconds - 1
        let start = Int64(Int128(spread) * Int128(number) / Int128(leads))
        let end = Int64(Int128(spread) * Int128(number + 1) / Int128(leads))
        let second = SampleGenerator.firstSecond + start + Int64(random.below(UInt64(max(end - start, 1))))
        return SampleLead(number: number, second: second, random: random)
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
struct SampleRandom {
    private var state: UInt64

    init(seed: UInt64, stream: UInt64) {
        var mixer = SampleRandom(state: seed)
        state = mixer.next() &+ stream &* 0xD1B5_4A32_D192_ED03
        _ = next()
    }

    private init(state: UInt64) { self.state = state }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// 0 ..< bound, by the high half of the product; the bias is far below what anybody counts here.
    mutating func below(_ bound: UInt64) -> UInt64 { next().multipliedFullWidth(by: bound).high }

    mutating func chance(_ percent: UInt64) -> Bool { below(100) < percent }

    /// Mostly short, sometimes up to the maximum, as waiting times are.
    mutating func delay(_ secondsMax: Int64) -> Int64 {
        let (first, second) = (Int64(below(UInt64(secondsMax))), Int64(below(1_000)))
        return 1 + first * second / 1_000
    }

    mutating func pick(_ texts: [StaticString]) -> StaticString { texts[Int(below(UInt64(texts.count)))] }
}

/// A lead between two events: the next one, and what the steps behind it need to know.
struct SampleLead: Comparable {
    enum Step: UInt8 {
        case captured, touched, noted, enriched, marketingQualified, offered, accepted, rejected, queued
        case assignedDeveloper, released, attempted, contacted, qualified, assignedCloser, opportunity
        case won, revised, lost, disqualified, recycled
    }

    let number: Int
    private(set) var second: Int64
    private var random: SampleRandom
    private var step = Step.captured
    /// What comes behind a touch or a note.
    private var resumed = Step.captured
    private var channel: UInt8 = 0
    private var developer: UInt8 = 0
    private var closer: UInt8 = 0
    private var sequence: UInt8 = 0
    private var attempts: UInt8 = 0
    private var touches: UInt8 = 0
    private var cycle: UInt8 = 0
    private var amount: UInt32 = 0

    init(number: Int, second: Int64, random: SampleRandom) {
        self.number = number
        self.second = second
        self.random = random
        var share = self.random.below(100)
        for (index, candidate) in SampleWorld.channels.enumerated() {
            channel = UInt8(index)
            if share < candidate.share { break }
            share -= candidate.share
        }
        developer = UInt8(self.random.below(UInt64(SampleWorld.developers.count)))
        closer = UInt8(self.random.below(UInt64(SampleWorld.closers.count)))
        // 900 to 60,000 EUR in steps of 50, small deals more often.
        amount = UInt32(90_000 + (self.random.delay(5_910_000) / 5_000) * 5_000)
    }

    static func < (left: SampleLead, right: SampleLead) -> Bool {
        left.second != right.second ? left.second < right.second : left.number < right.number
    }

    static func == (left: SampleLead, right: SampleLead) -> Bool {
        left.second == right.second && left.number == right.number
    }

    // MARK: What happens next

    /// Chooses the step behind the one just written, and its instant; false where the lead rests for good.
    mutating func goOn() -> Bool {
        sequence += 1
        let isAside = step == .touched || step == .noted
        guard let (next, delay) = choose() else { return false }
        step = next
        // Meanwhile the lead may come back by itself, or somebody writes a note.
        if !isAside, touches < 6, random.chance(24) {
            resumed = next
            step = random.chance(12) ? .noted : .touched
            touches += 1
        }
        second += delay
        return second < SampleGenerator.firstSecond + SampleGenerator.seconds
    }

    private mutating func likely(_ percent: UInt64) -> Bool {
        random.chance(min(percent * SampleWorld.channels[Int(channel)].strength / 100, 95))
    }

    private mutating func choose() -> (Step, Int64)? {
        switch step {
        case .captured:
            if random.chance(7) { return (.disqualified, random.delay(1 * day)) }
            if random.chance(45) { return (.enriched, random.delay(10 * minute)) }
            return chooseHandoff()
        case .enriched: return chooseHandoff()
        case .marketingQualified:
            return random.chance(70) ? (.offered, random.delay(6 * hour)) : (.assignedDeveloper, random.delay(1 * day))
        case .offered:
            return random.chance(85) ? (.accepted, random.delay(4 * hour)) : (.rejected, random.delay(1 * day))
        case .accepted: return (.assignedDeveloper, random.delay(2 * hour))
        case .rejected: return random.chance(40) ? (.assignedDeveloper, random.delay(3 * day)) : nil
        case .queued: return random.chance(80) ? (.assignedDeveloper, random.delay(2 * day)) : nil
        case .assignedDeveloper:
            if random.chance(4) { return (.released, random.delay(2 * day)) }
            return random.chance(90) ? (.attempted, random.delay(5 * hour)) : nil
        case .released: return random.chance(60) ? (.assignedDeveloper, random.delay(1 * day)) : nil
        case .attempted:
            attempts += 1
            if likely(48) { return (.contacted, random.delay(6 * hour)) }
            if attempts < 5 { return (.attempted, random.delay(2 * day)) }
            return cycle < 2 && random.chance(30) ? (.recycled, random.delay(3 * day)) : (.lost, random.delay(3 * day))
        case .contacted:
            if likely(55) { return (.qualified, random.delay(4 * day)) }
            return random.chance(35) ? (.disqualified, random.delay(2 * day)) : (.lost, random.delay(12 * day))
        case .qualified: return (.assignedCloser, random.delay(1 * day))
        case .assignedCloser:
            return likely(70) ? (.opportunity, random.delay(5 * day)) : (.lost, random.delay(15 * day))
        case .opportunity: return likely(42) ? (.won, random.delay(30 * day)) : (.lost, random.delay(30 * day))
        case .won: return random.chance(4) ? (.revised, random.delay(20 * day)) : nil
        case .lost: return cycle < 2 && random.chance(12) ? (.recycled, random.delay(20 * day)) : nil
        case .recycled: return random.chance(70) ? (.assignedDeveloper, random.delay(10 * day)) : nil
        case .revised, .disqualified: return nil
        case .touched, .noted: return (resumed, random.delay(2 * day))
        }
    }

    private mutating func chooseHandoff() -> (Step, Int64)? {
        if likely(50) { return (.marketingQualified, random.delay(1 * day)) }
        if random.chance(40) { return (.queued, random.delay(5 * minute)) }
        return random.chance(75) ? (.assignedDeveloper, random.delay(8 * hour)) : nil
    }

    // MARK: Writing it down

    mutating func writeEvent(seed: UInt64, to bytes: inout [UInt8]) {
        bytes.append(#"{"specversion":"1.0","id":"S"#)
        bytes.append(decimal: seed)
        bytes.append("-")
        bytes.append(decimal: UInt64(number))
        bytes.append("-")
        bytes.append(decimal: UInt64(sequence))
        bytes.append(
            step.isOfWebsite ? #"","source":"urn:sample:web","type":""# : #"","source":"urn:sample:crm","type":""#)
        bytes.append(step.type.staticName)
        bytes.append(#"","subject":"S"#)
        bytes.append(decimal: seed)
        bytes.append("-")
        bytes.append(decimal: UInt64(number))
        bytes.append(#"","time":""#)
        Instant(microseconds: second * 1_000_000).append(to: &bytes)
        bytes.append(#"","data":{"#)
        writeData(to: &bytes)
        bytes.append("}}\n")
    }

    private mutating func writeData(to bytes: inout [UInt8]) {
        let developer = SampleWorld.developers[Int(developer)]
        let closer = SampleWorld.closers[Int(closer)]
        switch step {
        case .captured: writeCapture(to: &bytes)
        case .touched:
            // A later touch often comes another way than the first.
            let isNamed = SampleWorld.channels[Int(channel)].name != nil
            if !isNamed || random.chance(60) { channel = UInt8(random.below(UInt64(SampleWorld.namedChannels))) }
            bytes.append(#""kind":""#, random.pick(SampleWorld.touchKinds), #"""#)
            writeOrigin(to: &bytes)
        case .noted: bytes.append(#""text":""#, random.pick(SampleWorld.messages), #"""#)
        case .enriched:
            bytes.append(#""provider":"example-data","fields":{"company":{"industry":""#)
            bytes.append(random.pick(SampleWorld.industries), #"","size":""#, random.pick(SampleWorld.sizes), #""}},"#)
            bytes.append(#""confidence":0."#)
            bytes.append(decimal: 50 + random.below(50))
        case .marketingQualified:
            bytes.append(#""criteria":{"rule":"fit-and-intent@3"},"score":"#)
            bytes.append(decimal: 40 + random.below(60))
        case .offered: bytes.append(#""to":""#, developer, #"""#)
        case .accepted: bytes.append(#""by":""#, developer, #"""#)
        case .rejected: bytes.append(#""by":""#, developer, #"","reason":"not_a_fit""#)
        case .queued: bytes.append(#""queue":""#, random.pick(SampleWorld.queues), #"""#)
        case .assignedDeveloper: bytes.append(#""member":""#, developer, #"","mode":"push","role":"sdr""#)
        case .assignedCloser: bytes.append(#""member":""#, closer, #"","mode":"manual","role":"closer""#)
        case .released: bytes.append(#""reason":"wrong_region""#)
        case .attempted, .contacted:
            bytes.append(#""by":""#, developer, #"","medium":""#, random.chance(70) ? "call" : "email")
            bytes.append(step == .attempted ? #"","outcome":"no_answer""# : #"","outcome":"reached""#)
        case .qualified: bytes.append(#""by":""#, developer, #"","framework":"BANT""#)
        case .opportunity:
            bytes.append(#""amount":"#)
            bytes.append(decimal: UInt64(amount))
            bytes.append(#","currency":"EUR""#)
        case .won:
            bytes.append(#""amount":"#)
            // Some are sold below what was hoped for.
            amount -= UInt32(random.below(5)) * (amount / 20)
            bytes.append(decimal: UInt64(amount))
            bytes.append(#","currency":"EUR","by":""#, closer, #"","product":""#)
            bytes.append(random.pick(SampleWorld.products), #"""#)
        case .revised:
            bytes.append(#""amount":"#)
            bytes.append(decimal: UInt64(amount - amount / 10))
            bytes.append(#","reason":"discount""#)
        case .lost: bytes.append(#""reason":""#, random.pick(SampleWorld.lostReasons), #"""#)
        case .disqualified: bytes.append(#""reason":""#, random.pick(SampleWorld.disqualifyReasons), #"""#)
        case .recycled:
            bytes.append(#""reason":"try_again_later""#)
            cycle += 1
            attempts = 0
        }
    }

    private mutating func writeCapture(to bytes: inout [UInt8]) {
        let first = random.pick(SampleWorld.firstNames)
        let last = random.pick(SampleWorld.lastNames)
        bytes.append(#""first_name":""#, first, #"","last_name":""#, last, #"","email":""#)
        bytes.append(first, ".", last, "-")
        bytes.append(decimal: UInt64(number))
        bytes.append(
            #"@example.com","country":""#, random.pick(SampleWorld.countries), #"","company":{"name":"Example "#)
        bytes.append(decimal: random.below(100_000))
        bytes.append(#""}"#)
        if random.chance(30) { bytes.append(#","message":""#, random.pick(SampleWorld.messages), #"""#) }
        if random.chance(50) { bytes.append(#","product":""#, random.pick(SampleWorld.products), #"""#) }
        writeOrigin(to: &bytes)
    }

    /// Members behind others: each begins with a comma.
    private mutating func writeOrigin(to bytes: inout [UInt8]) {
        let origin = SampleWorld.channels[Int(channel)]
        if let name = origin.name { bytes.append(#","channel":""#, name, #"""#) }
        if let source = origin.source { bytes.append(#","source":""#, source, #"""#) }
        if let medium = origin.medium { bytes.append(#","medium":""#, medium, #"""#) }
        if !origin.campaigns.isEmpty { bytes.append(#","campaign":""#, random.pick(origin.campaigns), #"""#) }
        bytes.append(#","landing_page":""#, random.pick(SampleWorld.landingPages), #"""#)
    }
}

extension SampleLead.Step {
    var type: EventType {
        switch self {
        case .captured: .captured
        case .touched: .touched
        case .noted: .noted
        case .enriched: .enriched
        case .marketingQualified: .marketingQualified
        case .offered: .offered
        case .accepted: .accepted
        case .rejected: .rejected
        case .queued: .queued
        case .assignedDeveloper, .assignedCloser: .assigned
        case .released: .released
        case .attempted: .contactAttempted
        case .contacted: .contacted
        case .qualified: .qualified
        case .opportunity: .opportunityOpened
        case .won: .won
        case .revised: .wonRevised
        case .lost: .lost
        case .disqualified: .disqualified
        case .recycled: .recycled
        }
    }

    var isOfWebsite: Bool { self == .captured || self == .touched }
}

private let minute: Int64 = 60
private let hour: Int64 = 3_600
private let day: Int64 = 86_400

extension [UInt8] {
    fileprivate mutating func append(_ texts: StaticString...) {
        for text in texts { append(text) }
    }

    fileprivate mutating func append(_ text: StaticString) {
        if text.hasPointerRepresentation {
            append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
        } else {
            text.withUTF8Buffer { append(contentsOf: $0) }
        }
    }

    fileprivate mutating func append(decimal number: UInt64) {
        if number >= 10 { append(decimal: number / 10) }
        append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: number % 10))
    }
}
