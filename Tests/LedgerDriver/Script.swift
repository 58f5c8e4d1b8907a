import Glibc
import Ledger

/// The units that the driver appends: the same ones, byte for byte, whenever and wherever it runs. Since the clock stands
/// still and the ledger's identity is given, the log they make is the same one too: what is found in a directory is a
/// beginning of it, or wrong.
struct Script {
    struct Event {
        var stream: String
        var id: String
        var text: String
    }

    /// Events of each unit.
    let units: [[Event]]
    /// Units that are submitted together.
    let batches: [Range<Int>]

    /// Every third unit writes this register beside its events, as an ack that carries events does: its value is the unit's number.
    static let registerKey = Array("driver".utf8)
    /// Of the value: more than a page, so that it has pages of its own.
    static let registerBytes = 6_000
    static func writesRegister(_ unit: Int) -> Bool { unit % 3 == 1 }

    static let ledgerID = LedgerID(high: 0x6F1C_2A64_0000_4000, low: 0x8000_0000_0000_0001)
    static let now: Int64 = 1_772_355_600_000_000

    init(units count: Int) {
        var units: [[Event]] = []
        var batches: [Range<Int>] = []
        for unit in 0..<count {
            // Mostly one event, now and then several; mostly short, now and then over pages of its own.
            let events = unit % 7 == 3 ? 1 + unit % 5 : 1
            units.append(
                (0..<events).map { event in
                    let length = unit % 11 == 5 ? 9_000 : unit % 5 == 2 ? 1_700 : 40 + unit * 37 % 300
                    return Event(
                        stream: "lead-\((unit * 31 + event) % 13)", id: "\(unit).\(event)",
                        text:
                            "\"n\":\"\(String(repeating: Character(UnicodeScalar(97 + UInt8(unit % 26))), count: length))\""
                    )
                })
        }
        var start = 0
        while start < count {
            let size = min(count - start, batches.count % 4 == 3 ? 4 : 1)
            batches.append(start..<start + size)
            start += size
        }
        self.units = units
        self.batches = batches
    }

    /// The position after each unit; as many as there are units, and the beginning.
    var ends: [UInt64] { units.reduce(into: [0]) { $0.append($0.last! + UInt64($1.count)) } }

    func makeUnit(_ index: Int, for sink: any AppendReplySink) -> AppendUnit {
        let unit = AppendUnit(ledgerID: Self.ledgerID, replyTo: sink, token: UInt64(index))
        for event in units[index] {
            let texts = [event.stream, "urn:driver", event.id, event.text].map { Array($0.utf8) }
            texts[0].withUnsafeBytes { stream in
                texts[1].withUnsafeBytes { source in
                    texts[2].withUnsafeBytes { id in
                        unit.beginEvent(
                            EventDraft(
                                type: 1, schemaVersion: 1, actor: 1_000, subject: stream, source: source, eventID: id))
                        texts[3].withUnsafeBytes { unit.addPublicMember($0) }
                    }
                }
            }
            do throws(LedgerError) { try unit.endEvent() } catch { end(70, "the script's unit \(index): \(error)") }
        }
        if Self.writesRegister(index) {
            let text = Array("\(index)".utf8)
            unit.write([
                RegisterWrite(
                    key: Self.registerKey, value: text + [UInt8](repeating: 32, count: Self.registerBytes - text.count))
            ])
        }
        return unit
    }

    /// Any event may follow any other; the state counts them.
    static let lifecycle: StreamLifecycle = { state, _, _, _ in .next(((state ?? 0) >> 8 + 1) << 8) }
}

/// Says why on stderr, and ends the process.
func end(_ code: Int32, _ text: String) -> Never {
    let line = "ledger-driver: \(text)\n"
    _ = write(STDERR_FILENO, line, line.utf8.count)
    // Not `exit`: what runs at an end is not to write more.
    _exit(code)
}
