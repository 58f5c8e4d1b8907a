// Limits: every bound of the daemon that is not the wire's own (those are `WireLimits` in Control) or the log's
// (`LogConfiguration` in Ledger), each with its unit and its reason.

/// The bounds that the command and query handlers keep.
package enum Limits {
    /// Microseconds that an event's `time` may be ahead of the daemon's clock: two machines' clocks differ, but an
    /// hour is a mistake (SEMANTICS 3).
    package static let futureToleranceMicroseconds: Int64 = 5 * 60 * 1_000_000

    /// Milliseconds that `append` waits for a read model when the request names no deadline.
    package static let waitDefaultMilliseconds: Int64 = 5_000

    /// Milliseconds that `append` may be told to wait: the request holds those behind it on its connection.
    package static let waitMaxMilliseconds: Int64 = 60_000

    /// Events or rows in one answer when the request names no limit.
    package static let answerRowsDefault = 100

    /// Units that an event loop gathers before it hands them to the appender, which would otherwise have nothing to do until
    /// the last line of a burst is read: a burst over 8 connections went from 69,000 to 86,000 events/s.
    package static let unitsHandedOverMax = 128

    /// Units that an event loop keeps to use again, and bytes that one of them may have grown to: as many as a burst has in
    /// flight, a few megabytes in all.
    package static let spareUnitsMax = 4_096
    package static let spareUnitBytesMax = 4_096

    /// Bytes of events in one answer of `log.read` or `lead.history`: an answer is built in memory and a connection's output
    /// is bounded.
    package static let answerBytesMax = 256 * 1024

    /// Bytes of one notification of a subscription, unless a single event takes more: a client keeps a line in memory.
    package static let notificationBytesMax = 64 * 1024

    /// Bytes of notifications that a subscription reads at once: a slice goes through a reader thread and the event loop, which
    /// costs the time of a hundred events. With one event more it still fits its buffer of 256 KiB.
    package static let sliceBytesMax = 192 * 1024

    /// Slices that a reader thread reads in a row, as long as they are full, which takes it about a millisecond: each goes to
    /// the event loop as soon as it is there, and the thread does not wait to be woken again.
    package static let slicesAtOnceMax = 3

    /// Buffers for slices that an event loop keeps for the next ones, 2 MiB: what one subscription that is read as fast as
    /// possible has on its way. Where there is more, memory is taken and given back.
    package static let spareSlicesMax = 8

    /// Slices of the log (10,000 events or 50 ms each) that one `log.read` scans for a filter that matches little; `next`
    /// then says where to go on.
    package static let scanSlicesMax = 20

    /// Subscriptions of one connection: each may have three slices of 256 KiB on their way.
    package static let subscriptionsPerConnectionMax = 16

    /// Seconds between heartbeats of a subscription that has nothing to say.
    package static let heartbeatSeconds: Int64 = 5

    /// Events looked at without a match after which a subscription says how far it has come, however little time that took: a
    /// client that is cut off in the middle of a long search goes on near there. By taste: a search then says it some 30 times
    /// a second.
    package static let heartbeatEvents: UInt64 = 50_000

    /// Events that a subscription which was caught up may be behind before it says `log.fell_behind`: more than a burst leaves
    /// while the client's next credit is on its way, and about 10 ms of reading. By taste.
    package static let fellBehindEvents: UInt64 = 10_000

    /// Milliseconds that `lead.get` waits for the leads read model to have what was stored of the lead before: it commits
    /// at once when somebody waits, so only one that cannot follow takes longer.
    package static let freshnessMilliseconds: Int64 = 2_000

    /// Seconds that replies which are owed have to get out when the daemon stops.
    package static let farewellSeconds: Int64 = 5

    /// Event loops: each keeps one of the 32 readers that the index lends, and the appender, the follower and queries need some.
    package static let eventLoopsMax = 16

    /// Reads of one connection that run at once; the others wait without costing anything. As many as there are reader threads.
    package static let readsAtOnceMax = 2

    /// Threads that read the log and the read models for queries: reads may wait for the disk, event loops may not.
    package static let readerThreads = 2

    /// Consumer groups of a ledger. By taste: a group with a full window takes about 2 MiB.
    package static let consumerGroupsMax = 64

    /// Bytes of a group's name.
    package static let consumerNameBytesMax = 64

    /// Bytes of a group's filter, as JSON: it is kept in one register.
    package static let consumerFilterBytesMax = 40 << 10

    /// Matching events that a group may be ahead of its progress, acked ones included: what is kept in memory, and what a start
    /// reads at most. A lead that is slow holds the progress, and the others go on as far as this.
    package static let consumerWindowEvents = 8_192

    /// Parked events of a group after which it takes in no new ones: by then it is not the events that are broken. What was taken
    /// in or replayed before may still add to them, two windows at most.
    package static let consumerParkedEvents = 10_000

    /// Events that are claimed, or said something of, in one request.
    package static let consumerEventsPerRequest = 1_000

    /// Attempts before an event is parked: the default, and the most that may be asked for.
    package static let consumerAttemptsDefault = 5
    package static let consumerAttemptsMax = 1_000

    /// Milliseconds of a lease: the default, and the most. Longer work extends its lease: who is gone for hours is gone.
    package static let consumerLeaseDefaultMilliseconds = 30_000
    package static let consumerLeaseMaxMilliseconds = 43_200_000

    /// Milliseconds after which a returned event is delivered again at the latest: a day. A start forgets the delay.
    package static let consumerDelayMaxMilliseconds = 86_400_000

    /// Matching events that one slice of reading for a group takes in.
    package static let consumerSliceEvents = 1_024

    /// Rows of acked events that one write of the floor deletes.
    package static let consumerRowsDeleted = 4_096

    /// Positions that the floor may be ahead of what the disk knows, where nothing else is written: what a start looks at again.
    package static let consumerFloorBehind: UInt64 = 10_000

    /// Milliseconds until a write of the daemon's own that found no room is tried again.
    package static let consumerRetryMilliseconds: Int64 = 250

    /// Leases and parked events that `consumer.status` lists when the request names no limit.
    package static let consumerListed = 100

    /// Events of a lead that are read to say who had it when its clock breached. By taste: most leads have a tenth of it, and it takes
    /// about a millisecond.
    package static let holderEventsMax = 1_000

    /// Bytes of a time zone's file: the longest of the 2025 database has 3,872.
    package static let timeZoneFileBytesMax = 64 << 10

    /// Bytes of a time zone's name: the longest of the 2025 database has 32.
    package static let timeZoneNameBytesMax = 64

    /// Requests that wait for the router: more than a second's worth of them is a jam.
    package static let deskCommandsMax = 10_000

    /// Decisions of one unit, and their bytes: what is decided in a few milliseconds, so that an arrival does not wait for a queue.
    package static let deskBatchDecisions = 128
    package static let deskBatchBytes = 512 << 10

    /// Events that the router may be behind when a request comes; further behind, as after a start, the client is told to wait.
    package static let deskBehindMax: UInt64 = 100_000

    /// Nanoseconds that the log is folded for before requests are looked at again.
    package static let deskSliceNanoseconds: UInt64 = 50_000_000

    /// Microseconds after which queues are looked at again for members whose hours, caps or cool-downs have opened: an event tells
    /// of everything else. "Within seconds" is what routing promises.
    package static let deskTickMicroseconds: Int64 = 500_000

    /// The longest the desk sleeps: the clock may be set.
    package static let deskTimerMaxMicroseconds: Int64 = 60_000_000

    /// How often a request is tried where other clients were faster.
    package static let deskAttemptsMax = 8

    /// Refusals in a row after which the desk waits before it decides again.
    package static let deskRefusalsInARow = 8

    /// Units of the response clocks in one round.
    package static let deskClockActions = 512

    /// Leads of a member who left that go back in one unit.
    package static let deskDeparturesPerUnit = 200

    /// Bytes of text in one `policy.part`: doubled, as escaping may, it fits an event.
    package static let policyPartBytesMax = 28 << 10

    /// Seconds of a lease where the pool says nothing.
    package static let leaseSecondsDefault: Int64 = 900

    /// Waiting leads that a claim looks at before it finds none: the first ones due may ask for what the member lacks.
    package static let claimScanMax = 1_000

    /// Microseconds within which a lead should be answered: the five minutes of the report on response (SEMANTICS 6).
    package static let answeredWithinMicroseconds: Int64 = 300 * 1_000_000

    /// Leads that `report.leaks` lists behind each number when the request names no limit.
    package static let leakedLeadsDefault = 10

    /// Events of a member's stream that a report looks up at once. By taste.
    static let memberEventsAtOnce = 1_000
}
