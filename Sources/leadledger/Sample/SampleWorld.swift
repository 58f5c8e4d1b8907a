// The made-up company whose leads `leadledger sample` writes: where its leads come from, how well each channel converts, and
// who works on them. Numbers are chosen by taste so that reports show differences worth looking at.

enum SampleWorld {
    struct Channel: Sendable {
        /// Nil: the sender does not know.
        let name: StaticString?
        let source: StaticString?
        let medium: StaticString?
        let campaigns: [StaticString]
        /// Of a hundred leads, how many come this way.
        let share: UInt64
        /// How much likelier than usual each step towards the win is, in percent.
        let strength: UInt64
    }

    static let channels: [Channel] = [
        Channel(
            name: "organic-search", source: "google", medium: "organic", campaigns: [], share: 26, strength: 105),
        Channel(
            name: "paid-search", source: "google", medium: "cpc", campaigns: ["brand", "generic-de", "competitor"],
            share: 22, strength: 110),
        Channel(
            name: "paid-social", source: "linkedin", medium: "cpc", campaigns: ["whitepaper-q1", "retargeting"],
            share: 16, strength: 80),
        Channel(name: "direct", source: nil, medium: nil, campaigns: [], share: 12, strength: 115),
        Channel(
            name: "email", source: "newsletter", medium: "email", campaigns: ["january", "spring-offer"], share: 8,
            strength: 75),
        Channel(name: "referral", source: "partners", medium: "referral", campaigns: [], share: 7, strength: 140),
        Channel(
            name: "webinar", source: "events", medium: "webinar", campaigns: ["live-demo", "customer-story"], share: 6,
            strength: 120),
        Channel(name: "unknown", source: nil, medium: nil, campaigns: [], share: 2, strength: 90),
        Channel(name: nil, source: nil, medium: nil, campaigns: [], share: 1, strength: 90),
    ]

    /// The first so many have a name that a sender gives a touch.
    static let namedChannels = 7

    static let landingPages: [StaticString] = [
        "https://example.com/", "https://example.com/pricing", "https://example.com/demo",
        "https://example.com/integrations", "https://example.com/customers", "https://example.com/guide",
        "https://example.com/compare", "https://example.com/contact",
    ]

    static let touchKinds: [StaticString] = ["visit", "visit", "click", "form", "webinar", "reply", "chat"]
    static let firstNames: [StaticString] = [
        "Ada", "Bruno", "Chiara", "Dmitri", "Elif", "Fatou", "Goran", "Hanna", "Ivan", "Jun", "Katja", "Luis", "Mei",
        "Nadia", "Omar", "Petra",
    ]
    static let lastNames: [StaticString] = [
        "Almeida", "Bauer", "Costa", "Dubois", "Eriksen", "Fischer", "Garcia", "Hansen", "Ito", "Janssen", "Kowalski",
        "Lindberg", "Moreau", "Novak", "Okafor", "Rossi",
    ]
    static let countries: [StaticString] = ["DE", "FR", "ES", "IT", "NL", "PL", "SE", "AT"]
    static let industries: [StaticString] = ["software", "retail", "logistics", "health", "finance", "manufacturing"]
    static let sizes: [StaticString] = ["1-10", "11-50", "51-200", "201-1000", "1000+"]
    static let products: [StaticString] = ["starter", "team", "business", "enterprise"]
    static let messages: [StaticString] = [
        "Please call me back about prices.", "We are looking for a tool for 20 people.",
        "Can you show us the product next week?", "Do you integrate with our CRM?",
    ]
    static let developers: [StaticString] = ["sdr-01", "sdr-02", "sdr-03", "sdr-04", "sdr-05", "sdr-06"]
    static let closers: [StaticString] = ["ae-01", "ae-02", "ae-03", "ae-04"]
    static let queues: [StaticString] = ["inbound-dach", "inbound-eu", "overflow"]
    static let lostReasons: [StaticString] = ["no_budget", "competitor", "no_decision", "timing"]
    static let disqualifyReasons: [StaticString] = ["spam", "student", "duplicate", "unreachable"]
}
