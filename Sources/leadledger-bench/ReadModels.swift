import JSON

/// How far the daemon's read models are, by `projection.list`.
struct ReadModels {
    let client: ControlClient
    let daemon: DaemonProcess

    /// Waits until every read model is live and has taken in the whole log.
    /// - Returns: nanoseconds that it took.
    func waitUntilCaughtUp() throws(BenchError) -> UInt64 {
        let start = monotonicNanoseconds()
        while true {
            let isCaughtUp = try client.call("projection.list") { (result) throws(BenchError) in
                guard let projections = result["projections"], projections.count > 0 else {
                    throw BenchError("projection.list names no read models")
                }
                var isCaughtUp = true
                for projection in projections.elements {
                    guard let name = projection["name"]?.string, let lag = projection["lag"]?.int64,
                        let state = projection["state"]?.string
                    else { throw BenchError("projection.list: a read model without name, lag or state") }
                    if state == "stopped" || state == "paused" {
                        throw BenchError(
                            "the read model \(name) is \(state): \(projection["reason"]?.string ?? "no reason given")")
                    }
                    if lag != 0 || state != "live" { isCaughtUp = false }
                }
                return isCaughtUp
            }
            if isCaughtUp { return monotonicNanoseconds() - start }
            try daemon.memory.sampleIfDue(now: monotonicNanoseconds())
            try pause(milliseconds: 10)
        }
    }
}

extension ControlClient {
    /// The position after the last event.
    func head() throws(BenchError) -> Int {
        try call("status") { (result) throws(BenchError) in
            guard let head = result["head"]?.int64 else { throw BenchError("status has no head") }
            return Int(head)
        }
    }

    func version() throws(BenchError) -> String {
        try call("status") { (result) throws(BenchError) in
            guard let version = result["version"]?.string else { throw BenchError("status has no version") }
            return version
        }
    }

    /// Every acknowledged event is in the log, and no other.
    func checkHead(is expected: Int) throws(BenchError) {
        let head = try head()
        guard head == expected else {
            throw BenchError("\(expected) events were acknowledged, and the log's head is \(head)")
        }
    }
}
