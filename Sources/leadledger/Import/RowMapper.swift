import JSON
import Leads

/// What is wrong with one row; the others go on.
struct RowFault: Error, Equatable {
    let reason: String
}

/// Turns rows of one file into units of events.
struct RowMapper {
    private let mapping: Mapping
    private let columnCount: Int
    /// Where each column of the mapping stands in a row.
    private let places: [Int]

    /// - Throws: `InputError` where the header lacks a column, or has it twice.
    init(_ mapping: Mapping, header: [String]) throws(InputError) {
        self.mapping = mapping
        columnCount = header.count
        var places: [Int] = []
        for name in mapping.columns {
            let found = header.indices.filter { header[$0] == name }
            guard let place = found.first else {
                throw InputError(
                    exitCode: 65,
                    "the header has no column \(name); it has \(header.map(printable).joined(separator: ", "))")
            }
            guard found.count == 1 else { throw InputError(exitCode: 65, "the header has the column \(name) twice") }
            places.append(place)
        }
        self.places = places
    }

    /// The units of a row, each a JSON array of events. A row whose conditions leave no event has none.
    func units(of row: borrowing CSVReader) throws(RowFault) -> [[UInt8]] {
        guard row.fieldCount == columnCount else {
            throw RowFault(reason: "\(row.fieldCount) fields where the header has \(columnCount)")
        }
        var units: [[UInt8]] = []
        var writer = JSONWriter(reserving: 1_024)
        for event in mapping.events where holds(event.conditions, in: row) {
            if writer.bytes.isEmpty { writer.beginArray() }
            try write(event, row, to: &writer)
            if !mapping.rowIsUnit {
                writer.endArray()
                units.append(writer.take())
            }
        }
        if !writer.bytes.isEmpty {
            writer.endArray()
            units.append(writer.take())
        }
        return units
    }

    private func holds(_ conditions: [Mapping.Condition], in row: borrowing CSVReader) -> Bool {
        for condition in conditions {
            switch condition {
            case .equals(let column, let text, let trims):
                let field = row.field(places[column])
                guard (trims ? trimmed(field) : field).elementsEqual(text) else { return false }
            case .isBlank(let column, let expected):
                guard trimmed(row.field(places[column])).isEmpty == expected else { return false }
            }
        }
        return true
    }

    private func write(
        _ event: Mapping.Event, _ row: borrowing CSVReader, to writer: inout JSONWriter
    ) throws(RowFault) {
        writer.beginObject()
        writer.key("id")
        try write(event.id, row, to: &writer)
        writer.key("source")
        try write(event.source, row, to: &writer)
        writer.key("type")
        writer.string(event.type)
        writer.key("subject")
        try write(event.subject, row, to: &writer)
        if let time = event.time {
            try write(Mapping.Member(name: "time", value: time), row, to: &writer)
        }
        if event.isBackfill {
            writer.key("backfill")
            writer.bool(true)
        }
        writer.key("data")
        try write(event.data, row, to: &writer)
        writer.endObject()
    }

    private func write(
        _ members: [Mapping.Member], _ row: borrowing CSVReader, to writer: inout JSONWriter
    ) throws(RowFault) {
        writer.beginObject()
        for member in members { try write(member, row, to: &writer) }
        writer.endObject()
    }

    /// Writes the member, or nothing where its value is blank and left out.
    private func write(
        _ member: Mapping.Member, _ row: borrowing CSVReader, to writer: inout JSONWriter
    ) throws(RowFault) {
        switch member.value {
        case .constant(let json):
            writer.key(member.name)
            writer.raw(json)
        case .template(let template):
            writer.key(member.name)
            try write(template, row, to: &writer)
        case .members(let members):
            // An object of which nothing is left is left out itself.
            var inner = JSONWriter()
            try write(members, row, to: &inner)
            guard inner.bytes.count > 2 else { return }
            writer.key(member.name)
            writer.raw(inner.bytes)
        case .column(let column, let conversion, let blank, let trims):
            let field = row.field(places[column])
            if trimmed(field).isEmpty {
                switch blank {
                case .omit: return
                case .refuse: throw fault(column, "is blank")
                case .keep:
                    guard case .string = conversion else { return }
                }
            }
            writer.key(member.name)
            try write(trims ? trimmed(field) : field, column, conversion, row, to: &writer)
        }
    }

    private func write(
        _ field: ArraySlice<UInt8>, _ column: Int, _ conversion: Mapping.Conversion, _ row: borrowing CSVReader,
        to writer: inout JSONWriter
    ) throws(RowFault) {
        if case .string = conversion {
            guard isUTF8(field) else { throw fault(column, "is not UTF-8") }
            return field.withUnsafeBytes { writer.string(utf8: $0) }
        }
        let text = String(decoding: trimmed(field), as: UTF8.self)
        switch conversion {
        case .string: break
        case .integer:
            guard let value = DecimalText.parse(text, fractionDigits: 0) else {
                throw fault(column, "is no whole number")
            }
            writer.integer(value)
        case .number:
            var number = trimmed(field)
            if number.first == UInt8(ascii: "+") { number.removeFirst() }
            guard isJSONNumber(number) else { throw fault(column, "is no number") }
            writer.raw(Array(number))
        case .boolean:
            switch text.lowercased() {
            case "true", "t", "yes", "y", "1": writer.bool(true)
            case "false", "f", "no", "n", "0": writer.bool(false)
            default: throw fault(column, "is neither true nor false")
            }
        case .instant(let format, let offsetSeconds):
            writer.string(try instant(text, format, offsetSeconds, column).text)
        case .money(let unit):
            let currency: Currency
            switch unit {
            case .currency(let constant): currency = constant
            case .column(let other):
                let code = String(decoding: trimmed(row.field(places[other])), as: UTF8.self)
                guard let found = Currency(code) else { throw fault(other, "is no currency of ISO 4217") }
                currency = found
            }
            guard let amount = Money.minorUnits(text, of: currency) else {
                throw fault(column, "is no amount of \(currency) with at most \(currency.exponent) decimals")
            }
            writer.integer(amount)
        }
    }

    private func instant(
        _ text: String, _ format: Mapping.InstantFormat, _ offsetSeconds: Int, _ column: Int
    ) throws(RowFault) -> Instant {
        let local: Instant
        var text = text
        if format == .dateAndTime {
            var bytes = Array(text.utf8)
            guard bytes.count >= 19, bytes[10] == UInt8(ascii: " ") else {
                throw fault(column, "is not written as yyyy-MM-dd HH:mm:ss")
            }
            bytes[10] = UInt8(ascii: "T")
            text = String(decoding: bytes, as: UTF8.self) + "Z"
        }
        do throws(InstantProblem) {
            local = format == .date ? try Instant(date: text) : try Instant(rfc3339: text)
        } catch {
            throw fault(column, "is no instant: \(error.message)")
        }
        guard format != .rfc3339 else { return local }
        // A local time, so many seconds ahead of UTC, as the instant it is.
        let instant = local.advanced(byMicroseconds: Int64(-offsetSeconds) * 1_000_000)
        guard instant >= .earliest, instant <= .latest else {
            throw fault(column, "lies outside the years 0000 to 9999")
        }
        return instant
    }

    /// A template is a text; a blank column in it would make two rows alike.
    private func write(
        _ template: Mapping.Template, _ row: borrowing CSVReader, to writer: inout JSONWriter
    ) throws(RowFault) {
        var text: [UInt8] = []
        for part in template {
            switch part {
            case .text(let constant): text += constant
            case .column(let column):
                let field = trimmed(row.field(places[column]))
                guard !field.isEmpty else { throw fault(column, "is blank") }
                guard isUTF8(field) else { throw fault(column, "is not UTF-8") }
                text += field
            }
        }
        text.withUnsafeBytes { writer.string(utf8: $0) }
    }

    /// The value itself is not shown: it may be of a person.
    private func fault(_ column: Int, _ reason: String) -> RowFault {
        RowFault(reason: "column \(mapping.columns[column]) \(reason)")
    }
}

private func trimmed(_ field: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
    func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
    guard let first = field.firstIndex(where: { !isBlank($0) }), let last = field.lastIndex(where: { !isBlank($0) })
    else { return [] }
    return field[first...last]
}

private func isUTF8(_ bytes: ArraySlice<UInt8>) -> Bool {
    bytes.allSatisfy { $0 < 0x80 } || String(validating: bytes, as: UTF8.self) != nil
}
