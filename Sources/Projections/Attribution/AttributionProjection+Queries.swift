import Crypto
package import Leads
package import Ledger
import LMDB

/// What is asked of the attribution.
package struct AttributionQuery: Equatable, Sendable {
    package var dimension: AttributionDimension
    /// The period that a conversion's instant must lie in, [from, to); open at an end that is nil.
    package var from: Instant?
    package var to: Instant?
    /// Side by side, in this order.
    package var models: [AttributionModel]

    package init(
        dimension: AttributionDimension = .channel, from: Instant? = nil, to: Instant? = nil,
        models: [AttributionModel] = AttributionModel.allCases
    ) {
        self.dimension = dimension
        self.from = from
        self.to = to
        self.models = models
    }

    func isInPeriod(_ instant: Instant) -> Bool {
        if let from, instant < from { return false }
        if let to, instant >= to { return false }
        return true
    }
}

package struct AttributionReport: Equatable, Sendable {
    /// The position it reflects: all events below it.
    package var position: Position
    package var query: AttributionQuery
    package var pathBuilder: String
    /// By currency, then most credit by the first model asked for first, then by value.
    package var rows: [AttributionRow]
    /// One for each currency, by its code.
    package var totals: [AttributionTotal]
    /// Conversions whose lead was captured after its first conversion: that capture counts as at the conversion.
    package var flagged: Int
    /// Touches on all paths.
    package var touches: Int
    /// SHA-256 over the journeys used, in the order in which they were.
    package var inputsDigest: [UInt8]
}

/// What one value gets in one currency. Two currencies are never added.
package struct AttributionRow: Equatable, Sendable {
    package var value: DimensionValue
    package var currency: Currency
    /// Parts of the models asked for, in their order.
    package var credits: [Credits]

    package struct Credits: Equatable, Sendable {
        /// In 10^-9 of a conversion.
        package var conversions: Int128
        /// In 10^-6 of a minor unit.
        package var value: Int128
    }
}

package struct AttributionTotal: Equatable, Sendable {
    package var currency: Currency
    package var conversions: Int
    /// Those of them without a touch.
    package var unattributed: Int
    /// Minor units.
    package var value: Int128
}

extension Snapshot where Model == AttributionProjection {
    /// Shares the conversions of the period among the values on their paths, by each model asked for.
    ///
    /// The credits of a model add up to the totals exactly, in every currency.
    package func attribution(_ query: AttributionQuery) throws -> AttributionReport {
        var sum = AttributionSum(query)
        var journey = LeadJourney()
        var cursor = try transaction.makeCursor(on: model.conversions)
        var entry: Cursor.Entry?
        if let from = query.from {
            entry = try Occurrence(time: from, position: 0).withKey { (key) throws(LMDBError) in
                try cursor.seek(to: key)
            }
        } else {
            entry = try cursor.first()
        }
        while let found = entry {
            let at = Occurrence(key: found.key)
            if let to = query.to, at.time >= to { break }
            guard let lead = StreamKey(bytes: found.value) else { throw ProjectionError.brokenRow }
            try journey.load(lead, model, query.dimension, in: transaction, interning: &sum.values)
            // A lead's conversions are all taken at the first of them in the period, since they share the walk.
            let first = journey.wins.lazy.map(\.at).filter { query.isInPeriod($0.time) }.min()
            if first == at { try sum.add(journey) }
            entry = try cursor.next()
        }
        return sum.report(at: position)
    }
}

/// The touches and conversions of one lead.
private struct LeadJourney {
    var lead = StreamKey(high: 0, low: 0)
    var touches: [Journey.Touch] = []
    /// The value of the dimension of each touch, as a number.
    var values: [Int] = []
    var wins: [Win] = []

    mutating func load(
        _ lead: StreamKey, _ model: AttributionProjection, _ dimension: AttributionDimension,
        in transaction: borrowing ReadTransaction, interning numbers: inout ByteInterner
    ) throws {
        self.lead = lead
        touches.removeAll(keepingCapacity: true)
        values.removeAll(keepingCapacity: true)
        var cursor = try transaction.makeCursor(on: model.touches)
        var entry = try lead.withBytes { (key) throws(LMDBError) in try cursor.seek(to: key) }
        while let found = entry, lead.isPrefix(of: found.key) {
            let row = try RowView(found.value, AttributionProjection.layout)
            touches.append(
                Journey.Touch(
                    at: Occurrence(key: found.key, at: 16),
                    isCapture: row[1, as: UInt8.self] == AttributionProjection.capture))
            values.append(numbers.intern(row.text(dimension.text)))
            entry = try cursor.next()
        }
        try model.wins.all(of: lead, in: transaction, into: &wins)
    }
}

/// The credits of all rows, while journeys go by.
private struct AttributionSum {
    let query: AttributionQuery
    var values = ByteInterner()
    private var digests: [Int: [UInt8]] = [:]
    private var rows: [RowKey: [AttributionRow.Credits]] = [:]
    private var totals: [UInt32: AttributionTotal] = [:]
    private var flagged = 0
    private var touches = 0
    private var inputs = SHA256()

    private struct RowKey: Hashable {
        /// The number of the value; -1 where the conversion has no touch.
        var value: Int
        var currency: UInt32
    }

    init(_ query: AttributionQuery) { self.query = query }

    mutating func add(_ journey: LeadJourney) throws {
        let paths = Journey.paths(touches: journey.touches, conversions: journey.wins.map { .init(at: $0.at) })
        for path in paths {
            let win = journey.wins[path.conversion]
            guard query.isInPeriod(win.at.time) else { continue }
            try addTotal(win, isAttributed: path.isAttributed)
            if path.movedCapture != nil { flagged += 1 }
            touches += path.touches.count
            digest(path, of: journey)
            let keys = path.isAttributed ? path.touches.map { journey.values[$0] } : [-1]
            for model in query.models.indices { share(win, along: keys, model: model) }
        }
    }

    private mutating func addTotal(_ win: Win, isAttributed: Bool) throws {
        guard let currency = Currency(packed: win.currency) else { throw ProjectionError.brokenRow }
        var total =
            totals[win.currency]
            ?? AttributionTotal(currency: currency, conversions: 0, unattributed: 0, value: 0)
        total.conversions += 1
        if !isAttributed { total.unattributed += 1 }
        total.value += Int128(win.amount)
        totals[win.currency] = total
    }

    private mutating func share(_ win: Win, along keys: [Int], model: Int) {
        // Exclusive access to `self` in one closure is enough: the digests are computed before, where a tie may ask.
        let known = digests(of: keys, for: query.models[model])
        let digest = { (key: Int) in known[key] ?? [] }
        for part in query.models[model].shares(of: Credit.perConversion, along: keys, digest: digest) {
            credit(part.key, win.currency, model) { $0.conversions += part.amount }
        }
        let value = Credit.units(ofMinorUnits: win.amount)
        for part in query.models[model].shares(of: value, along: keys, digest: digest) {
            credit(part.key, win.currency, model) { $0.value += part.amount }
        }
    }

    private mutating func credit(
        _ value: Int, _ currency: UInt32, _ model: Int, _ change: (inout AttributionRow.Credits) -> Void
    ) {
        let none = Array(repeating: AttributionRow.Credits(conversions: 0, value: 0), count: query.models.count)
        change(&rows[RowKey(value: value, currency: currency), default: none][model])
    }

    /// What ties between values are broken by: SHA-256 of the value's UTF-8, of no bytes for `(none)`.
    private mutating func digests(of keys: [Int], for model: AttributionModel) -> [Int: [UInt8]] {
        guard model == .linear, keys.contains(where: { $0 != keys[0] }) else { return [:] }
        for key in keys where digests[key] == nil { digests[key] = Array(SHA256.hash(data: values[key])) }
        return digests
    }

    // MARK: The digest of the inputs

    // For each path, in order: stream key 16, conversion instant 8, position 8, amount 8, currency 4, 1 if a capture was moved,
    // number of touches 4; for each touch, in the order of the path: instant 8, position 8, 1 if it is a capture, length of the
    // value 4, value.
    private mutating func digest(_ path: Journey.Path, of journey: LeadJourney) {
        let win = journey.wins[path.conversion]
        journey.lead.withBytes { inputs.update(bufferPointer: $0) }
        update(win.at.time.microseconds)
        update(win.at.position)
        update(win.amount)
        update(win.currency)
        update(UInt8(path.movedCapture == nil ? 0 : 1))
        update(UInt32(path.touches.count))
        for index in path.touches {
            let touch = journey.touches[index]
            let value = values[journey.values[index]]
            update(touch.at.time.microseconds)
            update(touch.at.position)
            update(UInt8(touch.isCapture ? 1 : 0))
            update(UInt32(value.count))
            inputs.update(data: value)
        }
    }

    private mutating func update(_ number: some FixedWidthInteger) {
        withUnsafeBytes(of: number.bigEndian) { inputs.update(bufferPointer: $0) }
    }

    // MARK: The answer

    func report(at position: Position) -> AttributionReport {
        var found: [AttributionRow] = []
        for (key, credits) in rows {
            guard let currency = Currency(packed: key.currency) else { continue }
            let value: DimensionValue = key.value < 0 ? .unattributed : DimensionValue(text: values[key.value])
            found.append(AttributionRow(value: value, currency: currency, credits: credits))
        }
        found.sort { left, right in
            if left.currency != right.currency { return left.currency.packed < right.currency.packed }
            for (left, right) in zip(left.credits, right.credits) where left != right {
                if left.conversions != right.conversions { return left.conversions > right.conversions }
                return left.value > right.value
            }
            return left.value < right.value
        }
        return AttributionReport(
            position: position, query: query, pathBuilder: Journey.defaultBuilderName, rows: found,
            totals: totals.values.sorted { $0.currency.packed < $1.currency.packed }, flagged: flagged,
            touches: touches,
            inputsDigest: Array(inputs.finalize()))
    }
}
