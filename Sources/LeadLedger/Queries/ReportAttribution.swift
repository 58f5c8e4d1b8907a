import Control
import JSON
import Leads
import Ledger
import Projections

// ReportAttribution: `report.attribution`: credit for conversions, by one model or several side by side.

struct ReportAttribution: Query {
    private let query: AttributionQuery

    init(_ params: JSONValue?) throws(QueryFault) {
        var models = AttributionModel.allCases
        if let words = params?["models"] {
            models = []
            for word in words.elements.compactMap({ $0.string.flatMap { AttributionModel(rawValue: $0) } }) {
                guard !models.contains(word) else {
                    throw QueryFault(.invalidValue, "the model \(word.name) stands twice", pointer: "/models")
                }
                models.append(word)
            }
        }
        query = AttributionQuery(
            dimension: params.word("by", default: .channel), from: try params.instant("from"),
            to: try params.instant("to"),
            models: models)
        try QueryFault.check(query.from, before: query.to)
    }

    func freshness(in context: QueryContext) throws -> Freshness? { .head(AttributionProjection.name, context) }

    func write(to writer: inout JSONWriter, from context: QueryContext) throws {
        let report = try context.models.snapshot(AttributionProjection.self).attribution(query)
        writer.beginObject()
        writer.member("position", report.position.rawValue)
        writer.member("head", context.log.end.rawValue)
        writer.member("path_builder", report.pathBuilder)
        writer.member("conversion", "won")
        writer.member("by", query.dimension.rawValue)
        writer.key("models")
        writer.beginArray()
        for model in query.models { writer.string(model.name) }
        writer.endArray()
        writer.member("from", query.from)
        writer.member("to", query.to)
        writer.key("inputs_digest")
        report.inputsDigest.withUnsafeBytes { writer.base64($0) }
        writer.member("touches", report.touches)
        writer.member("flagged", report.flagged)
        writer.key("rows")
        writer.beginArray()
        for row in report.rows { writer.attributionRow(row, query.models) }
        writer.endArray()
        writer.key("totals")
        writer.beginArray()
        for total in report.totals {
            writer.beginObject()
            writer.member("currency", total.currency.code)
            writer.member("conversions", total.conversions)
            writer.member("unattributed", total.unattributed)
            writer.member("value", DecimalText.string(total.value, fractionDigits: 0, .fixed))
            writer.endObject()
        }
        writer.endArray()
        writer.endObject()
    }
}

extension JSONWriter {
    fileprivate mutating func attributionRow(_ row: AttributionRow, _ models: [AttributionModel]) {
        beginObject()
        member("value", row.value)
        member("label", row.value.label)
        member("currency", row.currency.code)
        key("credits")
        beginObject()
        for (model, credits) in zip(models, row.credits) {
            key(model.name)
            beginObject()
            member(
                "conversions",
                DecimalText.string(credits.conversions, fractionDigits: Credit.conversionDigits, .trimmed))
            member("value", DecimalText.string(credits.value, fractionDigits: Credit.minorUnitDigits, .trimmed))
            endObject()
        }
        endObject()
        endObject()
    }
}
