/// A clock that runs from a lead's trigger to the answer it waits for: how long it has run, and when its time is up (SEMANTICS 6).
///
/// It is pure arithmetic over what happened: started, paused and resumed, stopped by an end and resumed by reopening. The policy
/// that chose target and calendar is frozen in it. Nothing here reads a wall clock: as-of instants come from outside.
///
/// Two measures:
/// - **wall**: all time since the start but what lies in stops, pauses included: as long as the lead has waited.
/// - **business**: what of the time in which the clock runs, neither paused nor stopped, the calendar is open. Targets are of
///   this measure; a target in wall time has the calendar 24x7.
///
/// An instant that lies before the last change of the clock counts as that change's: a clock does not run backwards.
///
///     var clock = ResponseClock(start: captured, target: 4 * 3_600_000_000, calendar: office)
///     clock.due                                   // the instant at which it is breached, if nothing happens
///     clock.verdict(answeredAt: contacted, asOf: now)
package struct ResponseClock: Hashable, Sendable {
    package enum State: Hashable, Sendable {
        case running, paused, stopped
    }

    package let start: Instant
    /// Microseconds of business time, at least 0.
    package let target: Int64
    package let calendar: BusinessCalendar
    package private(set) var state = State.running

    /// In which the clock ran, ascending, none empty; the one that still runs is not among them.
    private var runs: [Range<Instant>] = []
    /// In which it was stopped, likewise.
    private var stops: [Range<Instant>] = []
    /// When the state began.
    private var since: Instant

    package init(start: Instant, target: Int64, calendar: BusinessCalendar) {
        precondition(target >= 0, "a target is not negative")
        self.start = start.clamped
        self.target = target
        self.calendar = calendar
        since = start.clamped
    }
}

// MARK: - What happens to it

extension ResponseClock {
    /// From `instant` on it waits for somebody else. False, and nothing happens, unless it runs.
    package mutating func pause(at instant: Instant) -> Bool {
        guard state == .running else { return false }
        change(to: .paused, at: instant)
        return true
    }

    /// The lead has come to an end, be the clock running or paused. False, and nothing happens, if it is stopped already.
    package mutating func stop(at instant: Instant) -> Bool {
        guard state != .stopped else { return false }
        change(to: .stopped, at: instant)
        return true
    }

    /// It goes on: what it waited for came, or the lead was reopened. False, and nothing happens, if it runs.
    package mutating func resume(at instant: Instant) -> Bool {
        guard state != .running else { return false }
        change(to: .running, at: instant)
        return true
    }

    private mutating func change(to next: State, at instant: Instant) {
        let now = max(since, instant.clamped)
        if since < now {
            switch state {
            case .running: runs.append(since..<now)
            case .stopped: stops.append(since..<now)
            case .paused: break
            }
        }
        state = next
        since = now
    }
}

// MARK: - How long it has run

extension ResponseClock {
    /// Both measures at once, in microseconds.
    package struct Elapsed: Hashable, Sendable {
        package var wall: Int64
        package var business: Int64

        package init(wall: Int64, business: Int64) {
            self.wall = wall
            self.business = business
        }
    }

    /// What has elapsed at `instant`, with all that is known of the clock now. 0 before the start.
    package func elapsed(at instant: Instant) -> Elapsed {
        let now = instant.clamped
        guard now > start else { return Elapsed(wall: 0, business: 0) }
        var stopped: Int64 = 0
        for stop in stops where stop.lowerBound < now {
            stopped += min(stop.upperBound, now).microseconds(since: stop.lowerBound)
        }
        if state == .stopped, since < now { stopped += now.microseconds(since: since) }

        var business: Int64 = 0
        for run in runs where run.lowerBound < now {
            business += calendar.business(from: run.lowerBound, to: min(run.upperBound, now))
        }
        if state == .running, since < now { business += calendar.business(from: since, to: now) }
        return Elapsed(wall: now.microseconds(since: start) - stopped, business: business)
    }
}

// MARK: - When its time is up

extension ResponseClock {
    /// The instant until which the target has elapsed: the breach, computed and not noticed. Nil while it is paused or stopped
    /// with time left, and where there is none within 4,000 days of the last change.
    package var due: Instant? { instant(ofElapsed: target) }

    /// The instant of a step of the ladder: the first until which `percent` of the target have elapsed, 150 % being half as much
    /// again. Fractions of a microsecond are rounded up, so that at that instant it is certain. Nil as `due` is.
    package func instant(ofPercent percent: Int) -> Instant? {
        precondition(percent >= 0, "a step of the ladder is not negative")
        let (whole, overflow) = target.multipliedReportingOverflow(by: Int64(percent))
        if overflow {
            // More than 9 * 10^18 hundredths of a microsecond: hundreds of times the horizon of 4,000 days.
            return nil
        }
        return instant(ofElapsed: whole / 100 + (whole % 100 == 0 ? 0 : 1))
    }

    /// The first instant until which `amount` microseconds of business time have elapsed.
    package func instant(ofElapsed amount: Int64) -> Instant? {
        guard amount > 0 else { return start }
        var left = amount
        for run in runs {
            let business = calendar.business(from: run.lowerBound, to: run.upperBound)
            // Within a run, so that it cannot be too far away; a run may be longer than the horizon.
            if left <= business { return calendar.due(from: run.lowerBound, target: left) }
            left -= business
        }
        return state == .running ? calendar.due(from: since, target: left) : nil
    }

    /// Where the clock stands.
    package enum Verdict: Hashable, Sendable {
        /// Answered at or before the due instant.
        case met
        /// The due instant passed without an answer: breached then, whenever it was noticed.
        case breached(at: Instant)
        /// Neither: it runs or waits, and can still be met.
        case open
        /// Stopped by an end before it was due.
        case stopped
    }

    /// What is known at `asOf`, given the first answer known then. An answer counts from the start on and until the clock was
    /// stopped for good; one that is recorded late but timed before the due instant makes a breach met.
    package func verdict(answeredAt answer: Instant?, asOf: Instant) -> Verdict {
        let due = due
        if let answer, answer >= start, answer <= asOf, state != .stopped || answer <= since {
            guard let due, due < answer else { return .met }
            return .breached(at: due)
        }
        // At the due instant itself an answer still is in time.
        if let due, due < asOf { return .breached(at: due) }
        return state == .stopped && since <= asOf ? .stopped : .open
    }
}
