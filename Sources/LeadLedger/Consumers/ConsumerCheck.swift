import Ledger

/// What `leadledgerd check` looks at in the registers of consumer groups. That each is what was written, the walk of the log says.
enum ConsumerCheck {
    /// - Parameter find: told the place and what is wrong there.
    static func check(directory: String, mayUseTmpfs: Bool, find: (_ place: String, _ what: String) -> Void) {
        do {
            let log = try StoppedLog(directory: directory, mayUseTmpfs: mayUseTmpfs)
            for (prefix, stored) in try StoredConsumer.all({ try log.registers(withPrefix: $0, $1) }) {
                let name = stored.definition.map { "consumer group \($0.name)" } ?? "a consumer group"
                if let fault = stored.wholeFault(prefix: prefix, end: log.end.rawValue) {
                    find(name, fault)
                } else if let definition = stored.definition {
                    do throws(QueryFault) { _ = try definition.eventFilter() } catch { find(name, error.message) }
                }
            }
        } catch { find("registers", "\(error)") }
    }
}
