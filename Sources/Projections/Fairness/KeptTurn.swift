import JSON
import Leads
import Ledger

/// What a decision that was pushed or pulled moved in its pool's rotation: who was eligible, and what each of them gained.
///
/// It lies in a batch, and the gains in a row, as
///
/// ```
/// 0  2    length of the pool's id
/// 2  ...  the pool's id
/// .       the gains: for each eligible member
///           0  2    length of its id
///           2  ...  its id
///           .  8    its gain in 2^-32 of a turn
/// ```
///
/// with big-endian numbers. The whole is shorter than the decision's JSON.
struct KeptTurn {
    var pool: UnsafeRawBufferPointer
    var gains: UnsafeRawBufferPointer

    /// Appends the turn in the data of a `lead.assigned`; nothing where it is none: a match, a manager, an assignment by hand.
    static func store(_ data: JSONValue, to bytes: inout [UInt8]) throws(BadEvent) {
        guard let decision = data["decision"] else { return }
        guard let mode = data["mode"], mode.equals("push") || mode.equals("pull"),
            decision["manager"]?.boolean != true, let pool = decision["pool"], let candidates = decision["candidates"]
        else { return }
        guard let winner = data["member"], pool.kind == .string, candidates.kind == .array else {
            throw BadEvent("its decision has no pool with candidates")
        }
        bytes.appendBigEndian(UInt16(pool.utf8.count))
        bytes.append(contentsOf: pool.utf8)
        var hasWinner = false
        for candidate in candidates.elements where candidate["weight"] != nil {
            guard let member = candidate["member"], member.kind == .string,
                let gain = candidate["gain"]?.int64, (0...Turn.whole).contains(gain)
            else { throw BadEvent("its decision has an eligible candidate without a gain of up to one turn") }
            bytes.appendBigEndian(UInt16(member.utf8.count))
            bytes.append(contentsOf: member.utf8)
            bytes.appendBigEndian(gain)
            if member.utf8.elementsEqual(winner.utf8) { hasWinner = true }
        }
        guard hasWinner else { throw BadEvent("the winner is not among its decision's eligible candidates") }
    }

    /// Reads what `store` has appended.
    init(stored: UnsafeRawBufferPointer) {
        let end = 2 + Int(stored.bigEndian(at: 0, as: UInt16.self))
        pool = UnsafeRawBufferPointer(rebasing: stored[2..<end])
        gains = UnsafeRawBufferPointer(rebasing: stored[end...])
    }

    /// Walks through the gains of a row. False where they are not what was written.
    static func forEachGain(
        in gains: UnsafeRawBufferPointer, _ body: (_ member: UnsafeRawBufferPointer, _ gain: Int64) -> Void
    ) -> Bool {
        var at = 0
        while at < gains.count {
            guard at + 2 <= gains.count else { return false }
            let end = at + 2 + Int(gains.bigEndian(at: at, as: UInt16.self))
            guard end + 8 <= gains.count else { return false }
            body(UnsafeRawBufferPointer(rebasing: gains[at + 2..<end]), gains.bigEndian(at: end))
            at = end + 8
        }
        return true
    }
}
