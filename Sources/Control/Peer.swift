// Peer: who is at the other end of a connection, as the kernel says, and who of them is served.

/// The credentials of a connected process at the moment it connected. The uid becomes a record's actor.
package struct Peer: Sendable, Equatable {
    package var uid: UInt32
    package var gid: UInt32
    /// For messages only: a pid may belong to another process by now.
    package var pid: Int32

    package init(uid: UInt32, gid: UInt32, pid: Int32) {
        self.uid = uid
        self.gid = gid
        self.pid = pid
    }
}

/// What SO_PEERCRED fills: `struct ucred`, which the Glibc module does not have.
///
/// ```
/// 0  4  pid
/// 4  4  uid
/// 8  4  gid
/// ```
struct PeerCredentials: Sendable {
    var pid: Int32
    var uid: UInt32
    var gid: UInt32
}

/// Counts the connections and says which are served. A value: the listener keeps it behind a lock.
struct Admissions {
    enum Verdict: Equatable {
        case served
        /// Told why at leisure: what the client is still writing is read and thrown away, so that it gets to the reply.
        case refused(ErrorName)
        /// Told why and closed at once, since too many are being told at leisure already: nothing of it stays here.
        case turnedAway(ErrorName)
    }

    let limits: WireLimits
    let ownUser: UInt32
    private(set) var servedCount = 0
    private var refusedCount = 0
    private var servedByUser: [UInt32: Int] = [:]

    init(limits: WireLimits, ownUser: UInt32) {
        self.limits = limits
        self.ownUser = ownUser
    }

    mutating func admit(_ uid: UInt32) -> Verdict {
        // 65534 is "nobody", and what every user outside a user namespace looks like from inside.
        guard uid == 0 || uid == ownUser, uid != 65534 else { return refuse(.notAllowed) }
        let ofUser = servedByUser[uid, default: 0]
        guard servedCount < limits.connectionsMax, ofUser < limits.connectionsPerUserMax else { return refuse(.busy) }
        servedCount += 1
        servedByUser[uid] = ofUser + 1
        return .served
    }

    private mutating func refuse(_ name: ErrorName) -> Verdict {
        guard refusedCount < limits.refusalsMax else { return .turnedAway(name) }
        refusedCount += 1
        return .refused(name)
    }

    mutating func left(_ uid: UInt32, was verdict: Verdict) {
        switch verdict {
        case .served:
            servedCount -= 1
            servedByUser[uid, default: 1] -= 1
        case .refused: refusedCount -= 1
        case .turnedAway: break
        }
    }
}
