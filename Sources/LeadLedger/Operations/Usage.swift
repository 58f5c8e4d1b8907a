import Ledger

/// Whether rule sets were ever used in this ledger: a register beside the log. Where they were not, nobody has to read the log for
/// routing.
struct Usage {
    var isUsed: Bool

    /// A namespace of its own: those of consumer groups begin with 01.
    private static let key: [UInt8] = [2]

    static var register: RegisterWrite { RegisterWrite(key: key, value: [1]) }

    init(of log: EventLog) throws {
        var isUsed = false
        try log.registers(withPrefix: Self.key) { _, _ in
            isUsed = true
            return false
        }
        self.isUsed = isUsed
    }
}
