import Control
import JSON
import Ledger
import NIOCore

// ManyUnits: the answer to one `append.many`, put together as the outcomes of its units come.
//
//   {"units":[{"first":..},{"error":{..}},..],"durability":"synced"}
//
// What must hold: each unit has one entry, in the order of the line. Outcomes come in that order, but a unit that is refused
// at the door is so before any other has its outcome: its entry waits in `refusals` until its turn.

/// Lives on its event loop.
final class ManyUnits {
    let reply: ReplySlot
    let wait: AppendWait
    /// The greatest position that a unit was stored at.
    private(set) var last: Position?

    /// Units that were handed on and have no outcome yet.
    private var unsettled = 0
    private var isRead = false
    /// Entries whose turn has not come: index and text.
    private var refusals: [(index: Int, text: [UInt8])] = []
    private var nextRefusal = 0
    private var nextIndex = 0
    private var text = ByteBuffer(string: #"{"units":["#)

    init(reply: ReplySlot, wait: AppendWait) {
        self.reply = reply
        self.wait = wait
    }

    /// A unit says what `append` would be told, but for what is said once for the line.
    static func checkMembers(of unit: JSONValue) throws(AppendFault) {
        for member in unit.members where !member.name.equals("events") && !member.name.equals("expect") {
            let name = String(decoding: member.name.utf8.prefix(64), as: UTF8.self)
            throw AppendFault(.unknownField, "", "a unit has `events` and `expect`, and no \"\(name)\"")
        }
    }

    /// A unit went on to the log.
    func entered() { unsettled += 1 }

    /// All units of the line were read.
    /// - Returns: whether there is nothing to wait for.
    func allRead() -> Bool {
        isRead = true
        return unsettled == 0
    }

    /// A unit that was handed on has its entry.
    /// - Returns: whether it was the last of all.
    func settledOne() -> Bool {
        unsettled -= 1
        return isRead && unsettled == 0
    }

    func stored(_ index: Int, _ receipt: AppendReceipt, of unit: AppendUnit, _ instants: inout InstantEncoder) {
        last = max(last ?? receipt.last, receipt.last)
        begin(index)
        text.writeWithUnsafeMutableBytes(minimumWritableBytes: receipt.textBytesMax(of: unit)) { place in
            guard let start = place.baseAddress else { return 0 }
            var cursor = TextCursor(start)
            cursor.receipt(receipt, of: unit, &instants)
            return start.distance(to: cursor.at)
        }
    }

    func refused(_ index: Int, _ error: ErrorReply) {
        var writer = JSONWriter()
        writer.beginObject()
        error.below("/units/\(index)").write(to: &writer)
        writer.endObject()
        if isRead {
            begin(index)
            text.writeBytes(writer.bytes)
        } else {
            refusals.append((index, writer.take()))
        }
    }

    /// The whole result. Once.
    func takeText() -> [UInt8] {
        writeRefusals(before: .max)
        text.writeString(#"],"durability":"synced"}"#)
        return text.readBytes(length: text.readableBytes) ?? []
    }

    /// Writes what comes before the entry `index`.
    private func begin(_ index: Int) {
        writeRefusals(before: index)
        precondition(index == nextIndex, "outcomes come in the order of submission")
        separate()
    }

    private func writeRefusals(before index: Int) {
        while nextRefusal < refusals.count, refusals[nextRefusal].index < index {
            separate()
            text.writeBytes(refusals[nextRefusal].text)
            nextRefusal += 1
        }
    }

    private func separate() {
        if nextIndex > 0 { text.writeString(",") }
        nextIndex += 1
    }
}
