/// A canonical text cut into pieces that each fit into an event, and put together again (SEMANTICS 5.3): `policy.part`
/// holds one, `policy.published` their count and the SHA-256 of the whole.
package enum PolicyParts {
    /// Pieces of at most `bytesMax` bytes, each a text of its own: no character is cut. Together they are `text`.
    ///
    /// - Parameter bytesMax: at least 4, the longest character.
    package static func split(_ text: [UInt8], bytesMax: Int = DocumentLimits.partBytesMax) -> [[UInt8]] {
        precondition(bytesMax >= 4, "a character may take 4 bytes")
        var parts: [[UInt8]] = []
        var start = 0
        while start < text.count {
            var end = min(start + bytesMax, text.count)
            // Back to where a character begins; text that is no UTF-8 is cut where it must be.
            var back = 0
            while back < 3, end < text.count, text[end] & 0xC0 == 0x80, end - 1 > start {
                end -= 1
                back += 1
            }
            parts.append(Array(text[start..<end]))
            start = end
        }
        return parts
    }

    /// Why parts are no document.
    package enum Fault: Error, Equatable, Sendable {
        /// A part of the announced ones is not there.
        case missing(index: Int)
        /// Two parts of one index that differ, or one beyond the count.
        case unexpected(index: Int)
        case tooLarge
        /// The text has another SHA-256 than was published.
        case digest(found: String)
    }

    /// The text that parts make, whatever their order; the same part twice is one.
    ///
    /// - Parameters:
    ///   - count: as published.
    ///   - digest: SHA-256 in hex, as published.
    package static func join(
        _ parts: [(index: Int, text: [UInt8])], count: Int, digest: String
    ) throws(Fault) -> [UInt8] {
        // Every part but the last is nearly full, so a count beyond this is no document of ours.
        guard count >= 0, count <= DocumentLimits.textBytesMax / (DocumentLimits.partBytesMax - 3) + 1 else {
            throw .tooLarge
        }
        var slots = [[UInt8]?](repeating: nil, count: count)
        for (index, text) in parts {
            guard slots.indices.contains(index), slots[index] == nil || slots[index] == text else {
                throw .unexpected(index: index)
            }
            slots[index] = text
        }
        var whole: [UInt8] = []
        for (index, text) in slots.enumerated() {
            guard let text else { throw .missing(index: index) }
            whole += text
            guard whole.count <= DocumentLimits.textBytesMax else { throw .tooLarge }
        }
        let found = hexDigest(whole)
        guard found == digest.lowercased() else { throw .digest(found: found) }
        return whole
    }
}
