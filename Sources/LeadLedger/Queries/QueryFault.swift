import Control
import JSON
import Leads
import Ledger
import Projections

// QueryFault: why a query has no answer: an error's name, what is wrong, and where in the parameters.

struct QueryFault: Error {
    var name: ErrorName
    var message: String
    /// Into the parameters: `/filter/types`.
    var pointer: String?

    init(_ name: ErrorName, _ message: String, pointer: String? = nil) {
        self.name = name
        self.message = message
        self.pointer = pointer
    }
}

extension QueryFault {
    /// A period that ends before it begins would be answered with nothing, in silence.
    static func check(_ from: Instant?, before to: Instant?) throws(QueryFault) {
        guard let from, let to, to < from else { return }
        throw QueryFault(.invalidValue, "the period ends at \(to), before it begins at \(from)", pointer: "/to")
    }
}

extension ErrorReply {
    init(_ fault: QueryFault) { self.init(fault.name, fault.message, at: fault.pointer.map { .params($0) }) }

    /// What a query, or what it reads, threw.
    init(answering error: any Error) {
        switch error {
        case let fault as QueryFault: self.init(fault)
        case let error as ProjectionError: self.init(error)
        case let error as LedgerError: self.init(error)
        default: self.init(.internalError, "\(error)")
        }
    }

    /// Milliseconds after which asking again is worth it. By taste: a slice of reading takes 50 ms, a rebuild seconds.
    private static let retrySoon = 100
    private static let retryLater = 1_000

    init(_ error: ProjectionError) {
        switch error.kind {
        case .unknownModel: self.init(.unknownProjection, error.message)
        case .rebuilding:
            self.init(
                .rebuilding, error.description, at: nil,
                members: { writer in
                    writer.key("progress")
                    writer.integer(error.progress?.rawValue ?? 0)
                    writer.key("target")
                    writer.integer(error.target?.rawValue ?? 0)
                })
            retryAfterMilliseconds = Self.retryLater
        case .rebuildRunning:
            self.init(.rebuildRunning, error.description, retryAfterMilliseconds: Self.retryLater)
        case .readersFull: self.init(.busy, error.description, retryAfterMilliseconds: Self.retrySoon)
        case .diskFull: self.init(.diskFull, error.description)
        case .stopping: self.init(.shuttingDown, error.description)
        case .brokenRow: self.init(.corrupted, error.description)
        case .io: self.init(.internalError, error.description)
        }
    }

    init(_ error: LedgerError) {
        switch error.kind {
        case .readersFull: self.init(.busy, error.message, retryAfterMilliseconds: Self.retrySoon)
        case .corruption: self.init(.corrupted, error.description)
        case .diskFull: self.init(.diskFull, error.message)
        case .ledgerFull: self.init(.ledgerFull, error.message)
        default: self.init(.internalError, error.description)
        }
    }
}

// What several queries read from their parameters. Types, bounds and words were checked against the schemas.

extension JSONValue {
    /// A whole number from 0. One that is there and does not fit 64 bits is refused: it must not count as absent.
    func unsigned(_ name: StaticString, default value: UInt64) throws(QueryFault) -> UInt64 {
        guard let member = self[name] else { return value }
        guard let number = member.uint64 else {
            throw QueryFault(.invalidValue, "it is a whole number from 0 to \(UInt64.max)", pointer: "/\(name)")
        }
        return number
    }

    func integer(_ name: StaticString, default value: Int) -> Int { self[name]?.int64.map { Int($0) } ?? value }

    /// An instant, or a date taken at 00:00 UTC.
    func instant(_ name: StaticString) throws(QueryFault) -> Instant? {
        guard let text = self[name]?.string else { return nil }
        do throws(InstantProblem) { return try Instant(dateOrRFC3339: text) } catch {
            throw QueryFault(.invalidTime, error.message, pointer: "/\(name)")
        }
    }
}

extension Optional where Wrapped == JSONValue {
    func unsigned(_ name: StaticString, default value: UInt64) throws(QueryFault) -> UInt64 {
        guard let self else { return value }
        return try self.unsigned(name, default: value)
    }

    func integer(_ name: StaticString, default value: Int) -> Int { self?.integer(name, default: value) ?? value }

    func instant(_ name: StaticString) throws(QueryFault) -> Instant? {
        guard let self else { return nil }
        return try self.instant(name)
    }

    /// One of an enumeration's words.
    func word<Word: RawRepresentable<String>>(_ name: StaticString, default word: Word) -> Word {
        self?[name]?.string.flatMap { Word(rawValue: $0) } ?? word
    }
}

extension JSONWriter {
    /// A member whose value is a text or null.
    mutating func member(_ name: StaticString, _ text: String?) {
        key(name)
        if let text { string(text) } else { null() }
    }

    mutating func member(_ name: StaticString, _ number: (some FixedWidthInteger)?) {
        key(name)
        if let number { integer(number) } else { null() }
    }

    mutating func member(_ name: StaticString, _ value: Bool) {
        key(name)
        bool(value)
    }

    mutating func member(_ name: StaticString, _ value: Instant?) {
        key(name)
        if let value { instant(value) } else { null() }
    }

    mutating func member(_ name: StaticString, _ value: DimensionValue) {
        if case .named(let text) = value { member(name, text) } else { member(name, nil as String?) }
    }
}
