import Ledger
import Testing

@testable import LeadLedger

/// What a subscription does next, without a log and a socket.
@Suite struct SubscriptionTests {
    private func position(_ value: UInt64) -> Position { Position(rawValue: value) }

    private func subscription(credit: Int = 1_000_000) -> Subscription {
        Subscription(id: 1, from: .zero, filter: EventFilter(), credit: credit, now: 0)
    }

    /// Reads to `end` in slices of at most 100 events.
    private func catchUp(_ subscription: inout Subscription, to end: UInt64) {
        while case .read(let from, let limit) = subscription.step(end: position(end), hasRoom: true) {
            let count = min(100, limit, Int(end - from.rawValue))
            subscription.took(next: position(from.rawValue + UInt64(count)), count: count)
        }
    }

    @Test func `being caught up is said once, and again only after falling behind`() {
        var subscription = subscription(credit: 50)
        let limit = Limits.fellBehindEvents
        #expect(subscription.step(end: position(0), hasRoom: true) == .sayCaughtUp)
        #expect(subscription.step(end: position(0), hasRoom: true) == .rest)
        catchUp(&subscription, to: 50)
        #expect(subscription.next == position(50) && subscription.credit == 0 && subscription.isLive)
        // Held back by its credit: nothing is said up to the limit, and beyond it once.
        #expect(subscription.step(end: position(50 + limit), hasRoom: true) == .rest)
        #expect(subscription.step(end: position(51 + limit), hasRoom: true) == .sayFellBehind)
        #expect(subscription.step(end: position(90 + limit), hasRoom: true) == .rest)
        #expect(subscription.grant(1_000_000) == 1_000_000)
        #expect(
            subscription.step(end: position(90 + limit), hasRoom: true) == .read(from: position(50), limit: 1_000_000))
        subscription.took(next: position(90 + limit), count: Int(40 + limit))
        #expect(subscription.step(end: position(90 + limit), hasRoom: true) == .sayCaughtUp)
        #expect(subscription.step(end: position(90 + limit), hasRoom: true) == .rest)
    }

    @Test func `a client that does not read falls behind although it has credit`() {
        var subscription = subscription()
        #expect(subscription.step(end: position(0), hasRoom: true) == .sayCaughtUp)
        let end = position(Limits.fellBehindEvents + 1)
        #expect(subscription.step(end: end, hasRoom: false) == .sayFellBehind)
        #expect(subscription.step(end: end, hasRoom: false) == .rest)
        #expect(subscription.step(end: end, hasRoom: true) == .read(from: .zero, limit: 1_000_000))
    }

    @Test func `who was never caught up has not fallen behind, and who reads on is not held back`() {
        var subscription = subscription(credit: 0)
        #expect(subscription.step(end: position(1_000_000), hasRoom: true) == .rest)
        var live = self.subscription()
        #expect(live.step(end: position(0), hasRoom: true) == .sayCaughtUp)
        #expect(live.step(end: position(1_000_000), hasRoom: true) == .read(from: .zero, limit: 1_000_000))
        // The slice is on its way: nothing is begun or said before it is taken in.
        #expect(live.step(end: position(2_000_000), hasRoom: false) == .rest)
        live.tookNothing()
        #expect(live.step(end: position(1_000_000), hasRoom: true) == .read(from: .zero, limit: 1_000_000))
    }

    @Test func `a long search says where it is, by the events it looked at or by the time`() {
        var subscription = subscription()
        let step = Limits.heartbeatEvents
        subscription.took(next: position(step - 1), count: 0)
        #expect(!subscription.owesHeartbeat(at: 1))
        subscription.took(next: position(step), count: 0)
        #expect(subscription.owesHeartbeat(at: 1))
        subscription.said(at: 1)
        #expect(!subscription.owesHeartbeat(at: 1))
        #expect(subscription.owesHeartbeat(at: 1 + UInt64(Limits.heartbeatSeconds) * 1_000_000_000))
        // A match says it too.
        subscription.took(next: position(3 * step), count: 1)
        #expect(!subscription.owesHeartbeat(at: 1))
    }
}
