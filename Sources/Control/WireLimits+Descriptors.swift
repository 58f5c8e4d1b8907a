import Glibc

// Connections take file descriptors, and the operating system has the last word on how many there are. A limit that the
// descriptors cannot keep would end in connections that nobody accepts and nobody tells why; so it is lowered first.

extension WireLimits {
    /// Descriptors that are not connections: log, index and read models with their locks, a rebuild of each, the event
    /// loops, the server socket. 30 are open in a daemon at rest; the rest is for rebuilds, and by taste.
    package static let descriptorsReserved = 64

    /// Descriptors that all connections these limits allow take, with what else the daemon opens.
    package var descriptorsNeeded: Int { connectionsMax + refusalsMax + Self.descriptorsReserved }

    /// Lowers the limits to what `descriptors` allow; never below one connection of each kind. The room between the limit
    /// in all and that of a user stays, as far as it can.
    package mutating func fit(descriptors: Int) {
        guard descriptors < descriptorsNeeded else { return }
        let room = max(2, descriptors - Self.descriptorsReserved)
        let spare = connectionsMax - connectionsPerUserMax
        refusalsMax = min(refusalsMax, max(1, room / 8))
        connectionsMax = min(connectionsMax, max(1, room - refusalsMax))
        connectionsPerUserMax = min(connectionsPerUserMax, max(1, connectionsMax - spare))
    }
}

/// The descriptors that this process may have open.
package enum DescriptorLimit {
    /// Raises the soft limit towards `wanted`, as far as the hard one lets it.
    /// - Returns: how many there may be now.
    package static func raise(to wanted: Int) -> Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return wanted }
        if limit.rlim_cur < rlim_t(wanted) {
            let before = limit
            limit.rlim_cur = min(rlim_t(wanted), limit.rlim_max)
            if setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) != 0 { limit = before }
        }
        return Int(min(limit.rlim_cur, rlim_t(Int.max)))
    }
}
