import JSON
import Schemas
import Testing

@testable import leadledger

@Suite struct RowMapperTests {
    @Test func `a condition looks at a field as the values do: with trim, without its blanks`() throws {
        let yaml = """
            source: "urn:test"
            TRIM
            events:
              - { type: lead.captured, id: "{n}", subject: "L-{n}", data: {} }
              - type: lead.noted
                id: "{n}-n"
                subject: "L-{n}"
                when: [{ column: status, equals: won }]
                data: { text: { column: status } }
            """
        let csv = "n,status\n1, won \n2,won\n"
        let trimmed = try map(yaml.replacing("TRIM", with: "trim: true"), csv)
        func notes(_ units: [String]) -> Int { units.joined().split(separator: "lead.noted").count - 1 }
        #expect(trimmed.faults.isEmpty && notes(trimmed.units) == 2)
        #expect(notes(try map(yaml.replacing("TRIM", with: ""), csv).units) == 1)
    }

    @Test func `values become what the mapping says`() throws {
        let yaml = """
            source: "urn:test:{{x}}"
            zone: "-03:00"
            events:
              - type: lead.captured
                id: "{n}/a"
                subject: "L-{n}"
                time: { column: at, format: "yyyy-MM-dd HH:mm:ss" }
                data:
                  channel: { column: channel, trim: true }
                  message: { template: "{n} of {channel}" }
                  amount: { column: price, as: money, currency: JPY }
                  custom:
                    members:
                      whole: { column: whole, as: integer }
                      real: { column: real, as: number }
                      flag: { column: flag, as: boolean }
                      day: { column: day, as: instant, format: date, zone: "+02:00" }
                      fixed: { constant: 1.5 }
                      word: { constant: "yes" }
                      gone: { column: gone }
                  company:
                    members:
                      name: { column: gone }
            """
        let csv = """
            n,at,channel,price,whole,real,flag,day,gone
            7,2018-02-26 19:58:54, web ,500,0012,-1.5e3,Yes,2018-02-01,
            """
        let (units, faults) = try map(yaml, csv)
        #expect(faults.isEmpty)
        #expect(
            units == [
                #"[{"id":"7/a","source":"urn:test:{x}","type":"lead.captured","subject":"L-7","#
                    + #""time":"2018-02-26T22:58:54Z","data":{"channel":"web","message":"7 of web","amount":500,"#
                    + #""custom":{"whole":12,"real":-1.5e3,"flag":true,"day":"2018-01-31T22:00:00Z","fixed":1.5,"word":"yes"}}}]"#
            ])
    }

    @Test func `a row that does not convert is named by its line, and the others go on`() throws {
        let yaml = """
            source: urn:test
            events:
              - type: lead.won
                id: "{n}"
                subject: "{n}"
                time: { column: at }
                data:
                  amount: { column: amount, as: money, currency_column: currency }
                  product: { column: product, blank: refuse }
            """
        let csv = """
            n,at,amount,currency,product
            1,2018-01-01T00:00:00Z,1.00,EUR,"two
            lines"
            2,2018-01-01T00:00:00Z,1.001,EUR,x
            3,2018-01-01T00:00:00Z,1.00,XXX,x
            4,2018-13-01T00:00:00Z,1.00,EUR,x
            5,,1.00,EUR,x
            6,2018-01-01T00:00:00Z,1.00,EUR,
            ,2018-01-01T00:00:00Z,1.00,EUR,x
            8,2018-01-01T00:00:00Z,1.00
            9,2018-01-01T00:00:00Z,1.00,EUR,x,y
            10,2018-01-01T00:00:00Z,,EUR,x
            11,2018-01-01T00:00:00Z,2.50,EUR,x
            """
        let (units, faults) = try map(yaml, csv)
        #expect(faults.map(\.line) == [4, 5, 6, 7, 8, 9, 10, 11])
        #expect(faults[0].reason == "column amount is no amount of EUR with at most 2 decimals")
        #expect(faults[1].reason == "column currency is no currency of ISO 4217")
        #expect(faults[2].reason.hasPrefix("column at is no instant"))
        #expect(faults[3].reason == "column at is blank")
        #expect(faults[6].reason == "3 fields where the header has 5")
        #expect(faults[7].reason == "6 fields where the header has 5")
        #expect(units.count == 3)
        #expect(units[0].contains(#""product":"two\nlines""#))
        #expect(units[1].contains(#""data":{"product":"x"}"#))
        #expect(units[2].contains(#""amount":250"#))
    }

    @Test func `conditions leave events out, and a row is one unit or several`() throws {
        func yaml(_ unit: String) -> String {
            """
            source: urn:test
            unit: \(unit)
            events:
              - { type: lead.captured, id: "c{n}", subject: "{n}" }
              - { type: lead.assigned, id: "a{n}", subject: "{n}", when: [{ column: who, blank: false }] }
              - { type: lead.lost, id: "l{n}", subject: "{n}", when: [{ column: end, equals: lost }, { column: who, blank: true }] }
            """
        }
        let csv = "n,who,end\n1,,lost\n2,x,lost\n3, ,\n"
        func types(_ units: [String]) -> [String] {
            units.map { unit in
                unit.split(separator: #""type":"lead."#).dropFirst().map { String($0.prefix(1)) }.joined()
            }
        }
        #expect(types(try map(yaml("row"), csv).units) == ["cl", "ca", "c"])
        #expect(types(try map(yaml("event"), csv).units) == ["c", "l", "c", "a", "c"])
    }

    @Test func `a blank is left out, kept as it stands, or refused`() throws {
        func data(_ blank: String) throws -> String? {
            let yaml = """
                source: urn:test
                blank: \(blank)
                events:
                  - { type: lead.captured, id: "{n}", subject: "{n}", data: { channel: { column: c } } }
                """
            return try map(yaml, "n,c\n1, \n").units.first.map { String($0.suffix(17)) }
        }
        #expect(try data("omit")?.hasSuffix(#""data":{}}]"#) == true)
        #expect(try data("keep") == #"{"channel":" "}}]"#)
        #expect(try data("refuse") == nil)
    }

    @Test func `a header without a column, or with it twice, is refused by name`() throws {
        let mapping = try Mapping(yaml: "source: u\nevents: [{ type: lead.captured, id: \"{n}\", subject: \"{n}\" }]")
        let missing = #expect(throws: InputError.self) { try RowMapper(mapping, header: ["m"]) }
        #expect(missing?.description == "the header has no column n; it has m")
        let twice = #expect(throws: InputError.self) { try RowMapper(mapping, header: ["n", "n"]) }
        #expect(twice?.description == "the header has the column n twice")
    }

    @Test func `text that is not UTF-8 is refused`() throws {
        let yaml =
            "source: u\nevents: [{ type: lead.captured, id: \"{n}\", subject: \"{n}\", data: { channel: { column: c } } }]"
        let (units, faults) = try map(yaml, Array("n,c\n1,".utf8) + [0xE9, 0x0A])
        #expect(units.isEmpty)
        #expect(faults.map(\.reason) == ["column c is not UTF-8"])
    }
}

/// The units of a whole file as texts, and the rows that made none.
func map(_ yaml: String, _ csv: String) throws -> (units: [String], faults: [(line: Int, reason: String)]) {
    try map(yaml, Array(csv.utf8))
}

func map(_ yaml: String, _ csv: [UInt8]) throws -> (units: [String], faults: [(line: Int, reason: String)]) {
    let mapping = try Mapping(yaml: yaml)
    var rest = csv[...]
    var reader = CSVReader(delimiter: mapping.delimiter) { buffer in
        let count = min(buffer.count, rest.count)
        buffer.copyBytes(from: rest.prefix(count))
        rest.removeFirst(count)
        return count
    }
    guard case .row? = try reader.next() else { return ([], []) }
    let mapper = try RowMapper(
        mapping, header: (0..<reader.fieldCount).map { String(decoding: reader.field($0), as: UTF8.self) })
    var units: [String] = []
    var faults: [(line: Int, reason: String)] = []
    while let state = try reader.next() {
        if case .broken(let reason) = state {
            faults.append((reader.line, reason))
            continue
        }
        do throws(RowFault) {
            units += try mapper.units(of: reader).map { String(decoding: $0, as: UTF8.self) }
        } catch {
            faults.append((reader.line, error.reason))
        }
    }
    return (units, faults)
}
