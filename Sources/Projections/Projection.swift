package import LMDB

/// A read model: tables that are a function of the log, and how events change them.
///
/// Invariants, which every projection keeps and the tests hold it to:
/// - P1: the tables are a pure function of the events below the progress. So `apply` reads nothing but the events and its own
///   tables: no clock, no random number, no setting, no other model. What it makes of one lead does not depend on others, nor on
///   pools.
/// - P2: how events are cut into transactions changes nothing.
/// - P3: no personal field goes into a table. An event hands out its public members alone.
/// - P4: keys are fixed-width and big-endian, at most 32 bytes; values begin with the version of their layout.
///
/// A change of what is computed, or of a byte of a table, asks for a new `version`; a test pins the fingerprint and the digest
/// of a known log for each.
package protocol Projection: Sendable {
    /// The name of the model: `leads`.
    static var name: String { get }
    static var version: Int { get }
    /// What is computed, in words: the part of the fingerprint that says why another one means a rebuild.
    static var computes: String { get }
    /// The tables, in the order in which the digest takes them.
    static var tableNames: [String] { get }

    /// - Parameter tables: those of `tableNames`, opened, in their order.
    init(tables: [Table])

    /// Takes in events, lead by lead.
    ///
    /// - Throws: `BadEvent`, through `ProjectedEvent.locating`, for an event that cannot be understood or cannot follow what came
    ///   before; of several, any one. And `LMDBError`. After an error the transaction is dropped.
    func apply(_ events: EventRun, with scratch: ProjectionScratch, in transaction: inout WriteTransaction) throws
}

extension Projection {
    /// Two builds with one fingerprint hold the same bytes at the same position.
    package static var fingerprint: String { "\(name)@\(version) \(computes)" }
}

/// The read models there are.
package enum ReadModels {
    package static let all: [any Projection.Type] = [
        LeadsProjection.self, QueueProjection.self, FunnelProjection.self, AttributionProjection.self,
        ResponseProjection.self, FairnessProjection.self,
    ]

    package static func named(_ name: String) -> (any Projection.Type)? { all.first { $0.name == name } }
}

/// Why a stored event cannot be projected. It stops the model: an event that is skipped would be a lie in every answer.
package struct BadEvent: Error, Equatable, Sendable {
    package var reason: String

    package init(_ reason: String) { self.reason = reason }
}

/// The same, with the event that it is about.
struct LocatedBadEvent: Error {
    var position: UInt64
    var reason: String
}

/// What a worker needs again for every batch: a parser and rows in the making.
package final class ProjectionScratch {
    let decoder = EventDecoder()
    let row = RowBuffer()
    let otherRow = RowBuffer()
    let pending = PendingRows()
}

extension UnsafeRawBufferPointer {
    /// Nothing but spaces, tabs and line ends, or nothing at all.
    var isBlank: Bool {
        for byte in self where byte != 0x20 && !(0x09...0x0D).contains(byte) { return false }
        return true
    }

    var utf8String: String { String(decoding: self, as: UTF8.self) }
}
