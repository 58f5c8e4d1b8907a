import Testing

@testable import leadledger

@Suite struct MappingTests {
    private func refusal(_ yaml: String) -> MappingError? {
        do throws(MappingError) {
            _ = try Mapping(yaml: yaml)
            return nil
        } catch {
            return error
        }
    }

    /// A mapping with one event, into which a test puts what is wrong.
    private func mapping(top: String = "", event: String = "", data: String = "") -> String {
        """
        source: urn:test
        \(top.isEmpty ? "unit: row" : top)
        events:
          - type: lead.captured
            id: "{n}"
            subject: "{n}"
            \(event.isEmpty ? "backfill: true" : event)
            data:
              channel: { column: channel }
              \(data.isEmpty ? "product: { constant: x }" : data)
        """
    }

    @Test func `the mapping that the other tests break is good`() { #expect(refusal(mapping()) == nil) }

    /// What is wrong, the line it stands in, the place, and words of the reason.
    @Test(
        arguments: [
            ("{", 2, "", "is not YAML"),
            ("", 1, "", "is empty"),
            ("source: x\nsource: y\nevents: []", 1, "", "is not YAML"),
            ("source: urn:x", 1, "", "missing field"),
            ("source: urn:x\nevents: []", 2, "/events", "fewer than 1"),
            ("source: urn:x\nfoo: 1\nevents: []", 2, "/foo", "unknown field"),
            ("source: {a: b}\nevents: []", 1, "/source", "expected string"),
        ] as [(String, Int, String, String)])
    func `a file that is none is refused with its line`(
        _ yaml: String, _ line: Int, _ pointer: String, _ reason: String
    ) throws {
        let error = try #require(refusal(yaml))
        #expect(error.line == line, "\(error)")
        #expect(error.pointer == pointer)
        #expect(error.reason.contains(reason), "\(error)")
    }

    @Test(
        arguments: [
            ("blank: never", 2, "/blank", "one of"),
            ("zone: Europe/Berlin", 2, "/zone", "Europe/Berlin is not known"),
            ("zone: \"+25:00\"", 2, "/zone", "not known"),
            ("delimiter: é", 2, "/delimiter", "ASCII"),
            ("delimiter: \"\\\"\"", 2, "/delimiter", "neither a quote"),
            ("trim: yes", 2, "/trim", "expected boolean"),
        ] as [(String, Int, String, String)])
    func `what stands at the top is checked`(_ top: String, _ line: Int, _ pointer: String, _ reason: String) throws {
        let error = try #require(refusal(mapping(top: top)))
        #expect(error.line == line)
        #expect(error.pointer == pointer)
        #expect(error.reason.contains(reason), "\(error)")
    }

    @Test(
        arguments: [
            ("product: { column: a, constant: b }", "/events/0/data/product", "exactly one"),
            ("product: {}", "/events/0/data/product", "exactly one"),
            ("product: { constant: b, as: integer }", "/events/0/data/product/as", "beside column only"),
            ("product: { column: a, currency: EUR }", "/events/0/data/product/currency", "as: money"),
            ("amount: { column: a, as: money }", "/events/0/data/amount", "either currency or"),
            ("amount: { column: a, as: money, currency: EUX }", "/events/0/data/amount/currency", "EUX"),
            ("amount: { column: a, as: integer, blank: keep }", "/events/0/data/amount/blank", "only a string"),
            ("x: { column: a, as: instant, zone: CET }", "/events/0/data/x/zone", "has its own offset"),
            ("x: { column: a, as: instant, format: date, zone: CET }", "/events/0/data/x/zone", "CET"),
            ("x: { template: \"{a\" }", "/events/0/data/x/template", "needs a column's name"),
            ("x: { template: \"a}\" }", "/events/0/data/x/template", "without its {"),
            (
                "x: { members: { y: { constant: 1, trim: true } } }", "/events/0/data/x/members/y/trim",
                "beside column only"
            ),
        ] as [(String, String, String)])
    func `what a value says is checked`(_ data: String, _ pointer: String, _ reason: String) throws {
        let error = try #require(refusal(mapping(data: data)))
        #expect(error.pointer == pointer)
        #expect(error.line == 10, "\(error)")
        #expect(error.reason.contains(reason), "\(error)")
    }

    @Test(
        arguments: [
            ("when: [{ column: a }]", "/events/0/when/0", "either equals or blank"),
            ("when: [{ column: a, equals: x, blank: true }]", "/events/0/when/0", "either equals or blank"),
            ("time: { members: {} }", "/events/0/time", "no object"),
            ("time: { column: a, as: integer }", "/events/0/time/as", "is an instant"),
        ] as [(String, String, String)])
    func `what an event says is checked`(_ event: String, _ pointer: String, _ reason: String) throws {
        let error = try #require(refusal(mapping(event: event)))
        #expect(error.pointer == pointer)
        #expect(error.line == 7, "\(error)")
        #expect(error.reason.contains(reason), "\(error)")
    }

    @Test func `an event type that there is not is refused`() throws {
        let error = try #require(refusal(mapping().replacing("lead.captured", with: "lead.sold")))
        #expect(error.pointer == "/events/0/type")
    }

    @Test func `each column is asked for once`() throws {
        #expect(try Mapping(yaml: mapping()).columns == ["n", "channel"])
    }
}
