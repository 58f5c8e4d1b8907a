import Leads

// LeaseBook: who has leased which lead, until when. A fold over lead.claimed and what ends a lease; only the ends of leases are moved
// by heartbeats, which are no events: a start gives every lease that stands its time anew.

struct LeaseBook {
    struct Lease {
        var lead: LeadNumber
        var member: String
        /// The position of its lead.claimed.
        var position: UInt64
        /// SHA-256 of the token, in hexadecimal.
        var tokenHash: String
        var until: Instant
        /// How long it was given for.
        var length: Int64
        var queue: String?
    }

    private(set) var byLead: [LeadNumber: Lease] = [:]
    private var leadOfToken: [String: LeadNumber] = [:]

    mutating func begin(_ lease: Lease) {
        end(lease.lead)
        byLead[lease.lead] = lease
        leadOfToken[lease.tokenHash] = lease.lead
    }

    mutating func end(_ lead: LeadNumber) {
        guard let lease = byLead.removeValue(forKey: lead) else { return }
        leadOfToken[lease.tokenHash] = nil
    }

    /// A lease that was not ended by what happened to the lead: others have it, it came to an end, it was merged.
    mutating func settle(_ lead: LeadNumber, _ custody: Custody) {
        if custody != .leased, byLead[lead] != nil { end(lead) }
    }

    subscript(lead: LeadNumber) -> Lease? { byLead[lead] }

    func lease(withTokenHash hash: String) -> Lease? { leadOfToken[hash].flatMap { byLead[$0] } }

    /// A lease never gets shorter.
    mutating func extend(_ lead: LeadNumber, until: Instant) {
        guard let lease = byLead[lead], lease.until < until else { return }
        byLead[lead]?.until = until
    }

    /// Who holds a lease gets the time it was given for again, counted from now.
    mutating func giveTimeAnew(at now: Instant) {
        for (lead, lease) in byLead { extend(lead, until: now.advanced(byMicroseconds: lease.length)) }
    }

    /// Those that ended without a word, the first to end first.
    func expired(at now: Instant) -> [Lease] {
        byLead.values.filter { $0.until <= now }.sorted { ($0.until, $0.position) < ($1.until, $1.position) }
    }

    var nextEnd: Instant? { byLead.values.map(\.until).min() }
}
