import Leads

/// Every bound of documents, with its unit and its reason.
package enum DocumentLimits {
    /// Bytes of a document, as written and in canonical text: it is published as one unit of events. A thousand members in
    /// 50 pools with 200 rules take a quarter of it.
    package static let textBytesMax = 1 << 20

    /// Bytes of text in one part: an event holds 60 KiB, and escaping may add to it (SEMANTICS 5.3).
    package static let partBytesMax = 48 << 10

    /// Objects and lists inside each other, in documents. The form needs 6; examples hold leads, whose own fields may nest.
    package static let depthMax = 32

    /// Faults that are told of one document: by then the same mistake is everywhere.
    package static let faultsMax = 200

    /// Seconds of the longest duration: ten years, as far as business time reaches.
    package static let durationSecondsMax: Int64 = 315_360_000

    /// Bytes of an id: decisions name members, and have 200 bytes for each with all its numbers (`RoutingLimits`).
    package static let idBytesMax = RoutingLimits.memberIDBytesMax
}
