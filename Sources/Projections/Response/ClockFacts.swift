import JSON
import Leads
import Ledger

/// What a response clock waits for. The raw values are in keys and rows.
package enum ResponseClockKind: UInt8, CaseIterable, Sendable {
    case accept = 1
    case firstResponse = 2
    case qualify = 3
    case followUp = 4
    case stageAge = 5

    /// As it stands in events: `first_response`.
    package var name: String {
        switch self {
        case .accept: "accept"
        case .firstResponse: "first_response"
        case .qualify: "qualify"
        case .followUp: "follow_up"
        case .stageAge: "stage_age"
        }
    }

    package init?(name: String) {
        guard let found = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = found
    }
}

/// What the data of a clock's event says, as far as the model `response` keeps it.
///
/// In a batch it lies as its numbers, one after the other, and then the two texts.
struct ClockFacts {
    var kind: ResponseClockKind
    /// When it started, was answered or stopped; of other events 0.
    var at: Int64 = 0
    /// `Int64.max` where there is none.
    var due = Int64.max
    /// Microseconds since the start; of `clock_started` 0.
    var wall: Int64 = 0
    var business: Int64 = 0
    /// Of `clock_started` and `clock_replaced`: the position of the rule set.
    var ruleSet: Int64 = 0
    /// The target is of wall time.
    var isWall = false
    /// Of `clock_met`: after the due instant.
    var isLate = false
    /// Of `clock_started` and `clock_replaced`; empty where absent.
    var calendar = UnsafeRawBufferPointer.empty
    var holder = UnsafeRawBufferPointer.empty

    private static let numbers = 5
    private static let fixedBytes = 8 * numbers + 3 + 4

    /// Reads the data and appends what is kept of it.
    static func store(_ data: JSONValue, of type: EventType, to bytes: inout [UInt8]) throws(BadEvent) {
        guard let name = data["clock"]?.string, let kind = ResponseClockKind(name: name) else {
            throw BadEvent("it names no clock")
        }
        var facts = ClockFacts(kind: kind)
        if type == .clockStarted || type == .clockMet || type == .clockStopped {
            guard let at = try instant(data, "at") else { throw BadEvent("its at is missing") }
            facts.at = at
        }
        facts.due = try instant(data, "due") ?? .max
        if type == .clockBreached, facts.due == .max { throw BadEvent("its due is missing") }
        if type != .clockStarted {
            guard let wall = data["elapsed"]?["wall"]?.int64, let business = data["elapsed"]?["business"]?.int64,
                wall >= 0, business >= 0
            else { throw BadEvent("its elapsed time is not two numbers of microseconds") }
            (facts.wall, facts.business) = (wall, business)
        }
        if type == .clockStarted || type == .clockReplaced {
            guard let ruleSet = data["version"]?.int64, ruleSet >= 0 else {
                throw BadEvent("its version is no position")
            }
            facts.ruleSet = ruleSet
            guard let measure = data["measure"]?.string.flatMap({ TimeMeasure(rawValue: $0) }) else {
                throw BadEvent("its measure is neither wall nor business")
            }
            facts.isWall = measure == .wall
            facts.calendar = text(data, "calendar")
            facts.holder = text(data, "holder")
        }
        facts.isLate = data["late"]?.boolean ?? false
        facts.append(to: &bytes)
    }

    private static func instant(_ data: JSONValue, _ name: StaticString) throws(BadEvent) -> Int64? {
        guard let value = data[name] else { return nil }
        guard value.kind == .string, let instant = try? Instant(rfc3339: value.utf8) else {
            throw BadEvent("its \(name) is no instant")
        }
        return instant.microseconds
    }

    private static func text(_ data: JSONValue, _ name: StaticString) -> UnsafeRawBufferPointer {
        guard let value = data[name], value.kind == .string else { return .empty }
        return value.utf8
    }

    private func append(to bytes: inout [UInt8]) {
        for number in [at, due, wall, business, ruleSet] { bytes.appendBigEndian(number) }
        bytes += [kind.rawValue, isWall ? 1 : 0, isLate ? 1 : 0]
        // A text is shorter than its record.
        bytes.appendBigEndian(UInt16(calendar.count))
        bytes.appendBigEndian(UInt16(holder.count))
        bytes.append(contentsOf: calendar)
        bytes.append(contentsOf: holder)
    }

    init(kind: ResponseClockKind) { self.kind = kind }

    /// Reads what `store` has appended; its texts lie there.
    init(stored: UnsafeRawBufferPointer) {
        func number(_ index: Int) -> Int64 { stored.bigEndian(at: 8 * index) }
        let flags = 8 * Self.numbers
        guard let kind = ResponseClockKind(rawValue: stored[flags]) else {
            preconditionFailure("a batch holds what was stored in it")
        }
        self.kind = kind
        (at, due, wall, business, ruleSet) = (number(0), number(1), number(2), number(3), number(4))
        (isWall, isLate) = (stored[flags + 1] != 0, stored[flags + 2] != 0)
        let texts = Self.fixedBytes
        let middle = texts + Int(stored.bigEndian(at: flags + 3, as: UInt16.self))
        let end = middle + Int(stored.bigEndian(at: flags + 5, as: UInt16.self))
        calendar = UnsafeRawBufferPointer(rebasing: stored[texts..<middle])
        holder = UnsafeRawBufferPointer(rebasing: stored[middle..<end])
    }
}

extension [UInt8] {
    mutating func appendBigEndian(_ number: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: number.bigEndian) { append(contentsOf: $0) }
    }
}
