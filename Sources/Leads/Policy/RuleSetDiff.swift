/// What is different between two rule sets, entry by entry and setting by setting: for a person who is about to activate the
/// second one. Equal rule sets differ in nothing, and where they differ something is listed, the order of pool members apart.
package struct RuleSetDiff: Sendable, Equatable {
    package struct Change: Sendable, Equatable {
        /// `member`, `pool`, `rule`, ...
        package var kind: String
        package var id: String
        package var what: What
    }

    package enum What: Sendable, Equatable {
        case added
        case removed
        case changed([Setting])
    }

    /// Nil: there was none, or there is none any more.
    package struct Setting: Sendable, Equatable {
        package var name: String
        package var old: String?
        package var new: String?
    }

    package private(set) var changes: [Change] = []

    package init(from old: RuleSet, to new: RuleSet) {
        let oldEntries = old.described, newEntries = new.described
        for (before, after) in zip(oldEntries, newEntries) {
            let newByID = Dictionary(after.entries.map { ($0.id, $0.settings) }) { first, _ in first }
            let oldByID = Dictionary(before.entries.map { ($0.id, $0.settings) }) { first, _ in first }
            for entry in before.entries {
                guard let settings = newByID[entry.id] else {
                    changes.append(Change(kind: before.kind, id: entry.id, what: .removed))
                    continue
                }
                let different = Self.settings(from: entry.settings, to: settings)
                if !different.isEmpty {
                    changes.append(Change(kind: before.kind, id: entry.id, what: .changed(different)))
                }
            }
            for entry in after.entries where oldByID[entry.id] == nil {
                changes.append(Change(kind: after.kind, id: entry.id, what: .added))
            }
        }
    }

    private static func settings(from old: [(String, String)], to new: [(String, String)]) -> [Setting] {
        var settings: [Setting] = []
        let newByName = Dictionary(new) { first, _ in first }, oldByName = Dictionary(old) { first, _ in first }
        for (name, value) in old where newByName[name] != value {
            settings.append(Setting(name: name, old: value, new: newByName[name]))
        }
        for (name, value) in new where oldByName[name] == nil {
            settings.append(Setting(name: name, old: nil, new: value))
        }
        return settings
    }
}

// MARK: - A rule set as names and values

private typealias Entries = (kind: String, entries: [(id: String, settings: [(String, String)])])

/// Collects settings; what is nil or empty is left out.
private struct Settings {
    var list: [(String, String)] = []

    mutating func add(_ name: String, _ value: (some CustomStringConvertible)?) {
        if let value, !value.description.isEmpty { list.append((name, value.description)) }
    }
}

extension RuleSet {
    /// Every kind of entry, in the same order for any two rule sets.
    fileprivate var described: [Entries] {
        [
            ("rule set", [(id, options)]),
            ("skill", skills.map { ($0, []) }),
            ("calendar", calendars.map { ($0.id, describe($0)) }),
            ("region calendar", regionCalendars.enumerated().map { ("\($0 + 1)", describe($1)) }),
            ("team", teams.map { ($0.id, describe($0)) }),
            ("member", members.map { ($0.id, describe($0)) }),
            ("pool", pools.map { ($0.id, describe($0)) }),
            ("rule", territories.enumerated().map { ($1.id, describe($1, place: $0 + 1)) }),
            ("response target", responseTargets.map { ($0.id, describe($0)) }),
            ("cadence", cadences.map { ($0.id, describe($0)) }),
        ]
    }

    private var options: [(String, String)] {
        var settings = Settings()
        settings.add("seed", seed)
        settings.add("approval", approval.rawValue)
        settings.add("reroute_waiting", reroutesWaiting)
        settings.add("apply_to_running", appliesToRunning)
        settings.add("route_marketing_qualified", routesAtMarketingQualified)
        settings.add("owner_match", ownerMatches.map(\.rawValue).joined(separator: ", "))
        switch onLeave {
        case .keep: settings.add("on_leave", "keep")
        case .queue: settings.add("on_leave", "queue")
        case .handOver(let member): settings.add("on_leave", "hand over to \(members[member].id)")
        }
        settings.add("voiding_reasons", voidingReasons.joined(separator: ", "))
        settings.add("known_channels", knownChannels?.joined(separator: ", "))
        settings.add("catch_all", pools[catchAll].id)
        return settings.list
    }

    private func describe(_ calendar: CalendarSpec) -> [(String, String)] {
        var settings = Settings()
        settings.add("zone", calendar.zone)
        for (day, intervals) in zip(["mon", "tue", "wed", "thu", "fri", "sat", "sun"], calendar.week) {
            settings.add(day, intervals.map(\.text).joined(separator: ", "))
        }
        for holiday in calendar.holidays {
            settings.add("holiday \(holiday.monthText)-\(holiday.day < 10 ? "0" : "")\(holiday.day)", "closed")
        }
        return settings.list
    }

    private func describe(_ region: RegionCalendar) -> [(String, String)] {
        [("when", region.condition.text), ("calendar", calendars[region.calendar].id)]
    }

    private func describe(_ team: Team) -> [(String, String)] {
        var settings = Settings()
        settings.add("name", team.name)
        settings.add("manager", team.manager.map { members[$0].id })
        return settings.list
    }

    private func describe(_ member: Member) -> [(String, String)] {
        var settings = Settings()
        settings.add("team", member.team.map { teams[$0].id })
        settings.add("calendar", calendars[member.calendar].id)
        settings.add("skills", names(member.skills, skills))
        settings.add("languages", names(member.languages, languages))
        settings.add("weight", member.weight)
        settings.add("caps.open", member.caps.open)
        settings.add("caps.daily", member.caps.daily)
        settings.add("caps.rolling", member.caps.rolling.map { "\($0.count) in \($0.seconds) s" })
        settings.add("cooldown", member.cooldownSeconds == 0 ? nil : "\(member.cooldownSeconds) s")
        settings.add("manager", member.manager.map { members[$0].id })
        settings.add("active", member.isActive)
        settings.add("conflict", member.conflict?.text)
        return settings.list
    }

    private func describe(_ pool: Pool) -> [(String, String)] {
        var settings = Settings()
        for entry in pool.members { settings.add("member \(members[entry.member].id)", "weight \(entry.weight)") }
        settings.add("push", pool.pushes)
        settings.add("strategies", pool.strategies.map(\.rawValue).joined(separator: ", "))
        settings.add("explore_percent", pool.explorePercent)
        settings.add("required_skills", names(pool.requiredSkills, skills))
        settings.add("preferred_skills", names(pool.preferredSkills, skills))
        settings.add("language", pool.language.rawValue)
        settings.add("when_everyone_absent", pool.whenEveryoneAbsent.rawValue)
        if let pull = pool.pull {
            settings.add("pull.lease", "\(pull.leaseSeconds) s")
            settings.add("pull.opens_at_percent", pull.opensAtPercent)
            settings.add("pull.picking", pull.permitsPicking)
            settings.add("pull.order", pull.order.rawValue)
            settings.add(
                "pull.release_cooldown",
                pull.releaseCooldown.map { "\($0.releases) in \($0.windowSeconds) s: \($0.seconds) s" })
        }
        settings.add("max_hops", pool.hopsMax)
        settings.add("manager", pool.manager.map { members[$0].id })
        settings.add("calendar", calendars[pool.calendar].id)
        settings.add("response_targets", pool.responseTargets.map { responseTargets[$0].id }.joined(separator: ", "))
        settings.add("cadence", pool.cadence.map { cadences[$0].id })
        return settings.list
    }

    /// The place counts, since the first rule that matches takes the lead.
    private func describe(_ rule: Territory, place: Int) -> [(String, String)] {
        [("when", rule.condition.text), ("pool", pools[rule.pool].id), ("place", "\(place)")]
    }

    private func describe(_ target: ResponseTarget) -> [(String, String)] {
        var settings = Settings()
        settings.add("kind", target.kind.name)
        if case .stageAge(let stage) = target.kind { settings.add("stage", stage.name) }
        settings.add("when", target.condition?.text)
        settings.add("within", "\(target.seconds) s")
        settings.add("measure", target.measure.rawValue)
        switch target.calendar {
        case .region: settings.add("calendar", "region")
        case .pool: settings.add("calendar", "pool")
        case .holder: settings.add("calendar", "holder")
        case .named(let calendar): settings.add("calendar", calendars[calendar].id)
        }
        settings.add("attempt_answers", target.attemptAnswers)
        settings.add("answered_by", target.answeredBy.rawValue)
        for (number, step) in target.ladder.enumerated() {
            settings.add("ladder \(number + 1)", "\(step.percent) %: \(text(step.action))")
        }
        return settings.list
    }

    private func describe(_ cadence: Cadence) -> [(String, String)] {
        [
            ("attempts", cadence.attemptSeconds.map { "\($0) s" }.joined(separator: ", ")),
            ("measure", cadence.measure.rawValue), ("then", cadence.then.rawValue),
        ]
    }

    private func text(_ action: LadderAction) -> String {
        switch action {
        case .notify(.holder): "notify holder"
        case .notify(.manager): "notify manager"
        case .notify(.team): "notify team"
        case .notify(.member(let member)): "notify \(members[member].id)"
        case .queueAgain: "queue"
        case .reassign: "reassign"
        case .manager: "manager"
        case .recycle: "recycle"
        }
    }

    private func names(_ set: PolicySet, _ names: [String]) -> String {
        set.numbers.filter { $0 < names.count }.map { names[$0] }.sorted().joined(separator: ", ")
    }
}

extension DayInterval {
    /// `09:00-12:30`.
    package var text: String { "\(clock(startMinute))-\(clock(endMinute))" }

    private func clock(_ minutes: Int) -> String {
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return two(minutes / 60) + ":" + two(minutes % 60)
    }
}
