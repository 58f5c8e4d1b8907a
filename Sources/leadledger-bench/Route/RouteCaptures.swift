import Glibc

/// When the requests of a load are due: `count` of them, evenly at `rate` a second, or all at once.
///
/// A request is due whether or not the ones before it are answered, as leads come: a daemon that falls behind is not spared what comes
/// meanwhile.
struct SendSchedule {
    let count: Int
    /// Nil: all at once.
    var rate: Int?

    /// How many are due `nanoseconds` after the start.
    func due(after nanoseconds: UInt64) -> Int {
        guard let rate else { return count }
        let product = nanoseconds.multipliedFullWidth(by: UInt64(rate))
        let whole = UInt64(1_000_000_000)
        // Beyond 64 bits the quotient is far beyond any count.
        guard product.high < whole else { return count }
        let begun = whole.dividingFullWidth(product).quotient
        return begun >= UInt64(count) ? count : Int(begun) + 1
    }

    /// When request `number` is due, in nanoseconds after the start.
    func instant(of number: Int) -> UInt64 {
        guard let rate else { return 0 }
        let (seconds, rest) = number.quotientAndRemainder(dividingBy: rate)
        return UInt64(seconds) * 1_000_000_000 + (UInt64(rest) * 1_000_000_000 + UInt64(rate) - 1) / UInt64(rate)
    }
}

/// The captures of the routing benchmark: each of a lead of its own, evenly over what the rule set asks for.
///
/// Capture `number` is about `lead-q-` and that number in ten digits, in a request whose id is `EventTemplate.firstNumber` and that
/// number.
struct RouteCaptures {
    static let tag: Character = "q"

    private let templates: [EventTemplate]
    private let seed: UInt64
    /// The second of the wall clock that `instant` is the text of.
    private var second = time_t.min
    private var instant: [UInt8] = []

    init(seed: UInt64) {
        self.seed = seed
        var templates: [EventTemplate] = []
        for country in RouteRuleSet.countries + RouteRuleSet.otherCountries {
            for region in RouteRuleSet.regions {
                for channel in RouteRuleSet.channels {
                    templates.append(
                        EventTemplate(
                            tag: Self.tag, isCapture: true,
                            publicMembers: [
                                #""channel":"\#(channel)""#, #""source":"google""#, #""campaign":"spring-pricing""#,
                                #""landing_page":"/pricing""#, #""country":"\#(country)""#, #""region":"\#(region)""#,
                                #""language":"en""#,
                            ],
                            personalMembers: [#""first_name":"Kim""#, #""email":"kim@example.com""#]))
                }
            }
        }
        self.templates = templates
        lineBytes = templates[0].line.count
        precondition(templates.allSatisfy { $0.line.count == lineBytes })
    }

    let lineBytes: Int

    /// Writes the request of a capture, `lineBytes` bytes. It is dated at the second of `wallClock`: a lead that is captured now, so that
    /// no rule takes it for one of the past.
    mutating func writeLine(number: Int, wallClock: time_t, to target: UnsafeMutableRawPointer) {
        if wallClock != second {
            second = wallClock
            instant = Self.text(of: wallClock)
        }
        var random = RandomBits(state: seed &+ UInt64(number))
        let template = templates[Int(random.next() % UInt64(templates.count))]
        template.line.withUnsafeBytes { target.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        storeDigits(EventTemplate.firstNumber + UInt64(number), at: target + template.requestIDOffset)
        storeDigits(EventTemplate.firstNumber + UInt64(number), at: target + template.eventIDOffset)
        storeDigits(UInt64(number), at: target + template.subjectOffset)
        instant.withUnsafeBytes {
            (target + template.timeOffset).copyMemory(from: $0.baseAddress!, byteCount: $0.count)
        }
    }

    /// `2026-03-01T09:00:00Z`
    private static func text(of second: time_t) -> [UInt8] {
        var second = second
        var parts = tm()
        gmtime_r(&second, &parts)
        var text = [CChar](repeating: 0, count: 32)
        let count = strftime(&text, text.count, "%Y-%m-%dT%H:%M:%SZ", &parts)
        return text[..<count].map { UInt8(bitPattern: $0) }
    }
}
