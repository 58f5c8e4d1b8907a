import JSON
import Leads

// Step 3: each part of a document, once all names are known.

extension PolicyReader {
    mutating func takeOptions() {
        rules.approval = choice(root["approval"]) ?? .none
        rules.reroutesWaiting = root["reroute_waiting"]?.boolean ?? false
        rules.appliesToRunning = root["apply_to_running"]?.boolean ?? false
        rules.routesAtMarketingQualified = root["route_marketing_qualified"]?.boolean ?? false
        if root["owner_match"] != nil {
            rules.ownerMatches = []
            for (word, place) in texts(root["owner_match"], "/owner_match") {
                guard let match = OwnerMatch(rawValue: word) else { continue }
                if rules.ownerMatches.contains(match) { note(.duplicate, at: place, "\(quoted(word)) stands twice") }
                rules.ownerMatches.append(match)
            }
        }
        takeLeave()
        rules.voidingReasons = distinct("voiding_reasons").sorted(by: precedesInBytes)
        if root["known_channels"] != nil {
            rules.knownChannels = distinct("known_channels").sorted(by: precedesInBytes)
        }
    }

    private mutating func takeLeave() {
        let receiver = member(root["hand_over_to"], "/hand_over_to")
        switch root["on_leave"]?.string {
        case "queue": rules.onLeave = .queue
        case "hand_over":
            if let receiver { rules.onLeave = .handOver(to: receiver) }
            if root["hand_over_to"] == nil {
                note(.contradiction, at: "/on_leave", "hand_over needs hand_over_to, the member who gets the leads")
            }
            return
        default: break
        }
        if root["hand_over_to"] != nil {
            note(.contradiction, at: "/hand_over_to", "has no meaning without on_leave: hand_over")
        }
    }

    private mutating func distinct(_ name: StaticString) -> [String] {
        var found: [String] = []
        for (word, place) in texts(root[name], "/\(name)") {
            if found.contains(word) {
                note(.duplicate, at: place, "\(quoted(word)) stands twice")
            } else {
                found.append(word)
            }
        }
        return found
    }

    // MARK: Hours

    mutating func takeCalendars() {
        for (value, place, id) in named("calendars") {
            guard let number = calendarNumbers[id], number > 0 else { continue }
            let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
            var week = [[DayInterval]](repeating: [], count: 7)
            var isWhole = !misshapen.contains { $0.hasPrefix(place + "/hours") } && value["hours"] != nil
            for (hours, place) in elements(value["hours"], place + "/hours") {
                var intervals: [DayInterval] = []
                for (text, place) in texts(hours["open"], place + "/open") where !misshapen.contains(place) {
                    if let interval = dayInterval(text) {
                        intervals.append(interval)
                    } else {
                        isWhole = false
                        note(
                            .badInterval, at: place,
                            "expected hours such as 09:00-12:30, from 00:00 to 24:00 and not past midnight, found \(quoted(text))"
                        )
                    }
                }
                for (day, _) in texts(hours["days"], place + "/days") {
                    if let index = days.firstIndex(of: day) { week[index] += intervals }
                }
            }
            if isWhole, week.allSatisfy(\.isEmpty) {
                note(.emptyCalendar, at: place + "/hours", "calendar \(quoted(id)) is never open")
            }
            var holidays: Set<CivilDate> = []
            for (text, place) in texts(value["holidays"], place + "/holidays") where !misshapen.contains(place) {
                guard let date = civilDate(text) else {
                    note(.badDate, at: place, "expected a date such as 2026-12-25, found \(quoted(text))")
                    continue
                }
                if !holidays.insert(date).inserted { note(.duplicate, at: place, "\(quoted(text)) stands twice") }
            }
            rules.calendars[number].zone = zone(value["zone"], place + "/zone") ?? ""
            rules.calendars[number].week = week.map(united)
            rules.calendars[number].holidays = holidays.sorted()
        }
        for (value, place) in entries("region_calendars") {
            let condition = condition(value["when"], place + "/when")
            let calendar = calendar(value["calendar"], place + "/calendar")
            guard let condition, let calendar else { continue }
            rules.regionCalendars.append(RegionCalendar(condition: condition, calendar: calendar))
        }
    }

    private mutating func zone(_ value: JSONValue?, _ place: String) -> String? {
        guard let zone = value?.string, !misshapen.contains(place) else { return nil }
        if !isKnownZone(zone) {
            note(.unknownZone, at: place, "there is no time zone \(quoted(zone)); names are such as America/Sao_Paulo")
        }
        return zone
    }

    // MARK: People

    mutating func takeTeams() {
        for (value, place, id) in named("teams") {
            let manager = member(value["manager"], place + "/manager")
            rules.teams.append(Team(id: id, name: value["name"]?.string, manager: manager))
            teamCalendars.append(calendar(value["calendar"], place + "/calendar"))
        }
    }

    mutating func takeMembers() {
        for (value, place, id) in named("members") {
            let team = reference(value["team"], place + "/team", in: teamNumbers, .unknownTeam, "team")
            var calendar =
                calendar(value["calendar"], place + "/calendar") ?? team.flatMap { teamCalendars[$0] }
                ?? CalendarIndex(0)
            if let zone = zone(value["zone"], place + "/zone") { calendar = self.calendar(calendar, in: zone) }
            var member = Member(id: id, calendar: calendar)
            member.team = team.map { TeamIndex($0) }
            member.skills = skills(value["skills"], place + "/skills")
            member.languages = languages(value["languages"], place + "/languages")
            member.weight = integer(value["weight"]).flatMap { UInt32(exactly: $0) } ?? 1
            member.caps = caps(value["caps"], place + "/caps")
            member.cooldownSeconds = seconds(value["cooldown"], place + "/cooldown") ?? 0
            member.manager =
                self.member(value["manager"], place + "/manager") ?? team.flatMap { rules.teams[$0].manager }
            if value["manager"]?.string == id {
                note(.contradiction, at: place + "/manager", "nobody is their own manager")
            }
            // Who leads a team is not managed by it.
            if let manager = member.manager, memberNumbers[id] == Int(manager.rawValue) { member.manager = nil }
            member.isActive = value["active"]?.boolean ?? true
            member.conflict = condition(value["conflict"], place + "/conflict")
            rules.members.append(member)
        }
    }

    /// The same hours in another zone: a calendar of its own, made once.
    private mutating func calendar(_ index: CalendarIndex, in zone: String) -> CalendarIndex {
        var calendar = rules.calendars[index]
        guard calendar.zone != zone else { return index }
        calendar.id += "/" + zone
        calendar.zone = zone
        if let known = rules.calendars.firstIndex(where: { $0.id == calendar.id }) { return CalendarIndex(known) }
        rules.calendars.append(calendar)
        return CalendarIndex(rules.calendars.count - 1)
    }

    private mutating func languages(_ list: JSONValue?, _ place: String) -> PolicySet {
        var set = PolicySet()
        for (tag, place) in texts(list, place) where !misshapen.contains(place) {
            let primary = tag.prefix { $0 != "-" && $0 != "_" }.lowercased()
            guard (2...8).contains(primary.utf8.count), primary.utf8.allSatisfy({ $0 &- UInt8(ascii: "a") < 26 }) else {
                note(.form, at: place, "expected a language such as pt or pt-BR, found \(quoted(tag))")
                continue
            }
            if let known = languageNumbers[primary] {
                set.insert(known)
            } else if rules.languages.count < PolicySet.capacity {
                languageNumbers[primary] = rules.languages.count
                set.insert(rules.languages.count)
                rules.languages.append(primary)
            } else {
                note(.tooLarge, at: place, "more than \(PolicySet.capacity) languages")
            }
        }
        return set
    }

    private mutating func caps(_ value: JSONValue?, _ place: String) -> Caps {
        guard let value else { return Caps() }
        var caps = Caps(open: integer(value["open"]), daily: integer(value["daily"]))
        let window = seconds(value["rolling"]?["window"], place + "/rolling/window")
        if window == 0 { note(.badDuration, at: place + "/rolling/window", "a window has a length") }
        if let count = integer(value["rolling"]?["count"]), let window {
            caps.rolling = RollingCap(count: count, seconds: window)
        }
        return caps
    }

    // MARK: Clocks

    mutating func takeTargets() {
        for (value, place, id) in named("response_targets") {
            let kind = kind(value, place)
            let measure: TimeMeasure = choice(value["measure"]) ?? .business
            let within = seconds(value["within"], place + "/within", measure: measure)
            if within == 0 { note(.badDuration, at: place + "/within", "a target takes some time") }
            var target = ResponseTarget(id: id, kind: kind ?? .accept, seconds: within ?? 1)
            target.condition = condition(value["when"], place + "/when")
            target.measure = measure
            switch value["calendar"]?.string {
            case nil, "pool": target.calendar = .pool
            case "region": target.calendar = .region
            case "holder": target.calendar = .holder
            default:
                if let calendar = calendar(value["calendar"], place + "/calendar") {
                    target.calendar = .named(calendar)
                }
            }
            if measure == .wall, value["calendar"] != nil {
                note(.contradiction, at: place + "/calendar", "wall time has no calendar: leave one of them out")
            }
            target.attemptAnswers = value["attempt_answers"]?.boolean ?? false
            target.answeredBy = choice(value["answered_by"]) ?? .holder
            target.ladder = ladder(value["ladder"], place + "/ladder")
            rules.responseTargets.append(target)
        }
    }

    private mutating func kind(_ value: JSONValue, _ place: String) -> TargetKind? {
        let stage = value["stage"]?.string.flatMap { Stage(name: $0) }
        let word = value["kind"]?.string
        if word == "stage_age" {
            if value["stage"] == nil { note(.contradiction, at: place + "/kind", "stage_age needs a stage") }
            return stage.map { .stageAge($0) }
        }
        if value["stage"] != nil, word != nil {
            note(.contradiction, at: place + "/stage", "has no meaning without kind: stage_age")
        }
        switch word {
        case "accept": return .accept
        case "first_response": return .firstResponse
        case "qualify": return .qualify
        case "follow_up": return .followUp
        default: return nil
        }
    }

    private mutating func ladder(_ list: JSONValue?, _ place: String) -> [LadderStep] {
        var steps: [LadderStep] = []
        for (value, place) in elements(list, place) {
            guard let percent = integer(value["at_percent"]) else { continue }
            if let last = steps.last, last.percent > percent {
                note(.badOrder, at: place + "/at_percent", "steps ascend: \(percent) stands after \(last.percent)")
            }
            let word = value["do"]?.string
            if word != "notify", word != nil, value["to"] != nil {
                note(.contradiction, at: place + "/to", "has no meaning without do: notify")
            }
            switch word {
            case "notify":
                if let recipient = recipient(value["to"], place + "/to") {
                    steps.append(LadderStep(percent: percent, action: .notify(recipient)))
                }
            case "queue": steps.append(LadderStep(percent: percent, action: .queueAgain))
            case "reassign": steps.append(LadderStep(percent: percent, action: .reassign))
            case "manager": steps.append(LadderStep(percent: percent, action: .manager))
            case "recycle": steps.append(LadderStep(percent: percent, action: .recycle))
            default: break
            }
        }
        return steps
    }

    private mutating func recipient(_ value: JSONValue?, _ place: String) -> Recipient? {
        switch value?.string {
        case nil, "holder": .holder
        case "manager": .manager
        case "team": .team
        default: member(value, place).map { .member($0) }
        }
    }

    mutating func takeCadences() {
        for (value, place, id) in named("cadences") {
            let measure: TimeMeasure = choice(value["measure"]) ?? .wall
            var attempts: [Int64] = []
            for (attempt, place) in elements(value["attempts"], place + "/attempts") {
                guard let seconds = seconds(attempt, place, measure: measure) else { continue }
                if let last = attempts.last, last >= seconds {
                    note(.badOrder, at: place, "attempts ascend: each is later than the one before")
                }
                attempts.append(seconds)
            }
            var cadence = Cadence(id: id, attemptSeconds: attempts, then: choice(value["then"]) ?? .queue)
            cadence.measure = measure
            rules.cadences.append(cadence)
        }
    }

    // MARK: Where leads go

    mutating func takePools() {
        for (value, place, id) in named("pools") {
            let calendar = calendar(value["calendar"], place + "/calendar") ?? CalendarIndex(0)
            var pool = Pool(id: id, members: poolMembers(value, place, id), calendar: calendar)
            pool.pushes = value["push"]?.boolean ?? true
            pool.strategies = strategies(value["strategies"], place + "/strategies")
            pool.explorePercent = integer(value["explore_percent"]) ?? 10
            pool.requiredSkills = skills(value["required_skills"], place + "/required_skills")
            pool.preferredSkills = skills(value["preferred_skills"], place + "/preferred_skills")
            pool.language = choice(value["language"]) ?? .ignore
            pool.whenEveryoneAbsent = choice(value["when_everyone_absent"]) ?? .queue
            pool.pull = pull(value["pull"], place + "/pull")
            pool.hopsMax = integer(value["max_hops"]) ?? 3
            pool.manager = member(value["manager"], place + "/manager")
            pool.responseTargets = targets(value["response_targets"], place + "/response_targets")
            pool.cadence = reference(
                value["cadence"], place + "/cadence", in: cadenceNumbers, .unknownCadence, "cadence"
            )
            .map { CadenceIndex($0) }
            check(pool, value, place)
            rules.pools.append(pool)
        }
        if let catchAll = pool(root["catch_all"], "/catch_all") { rules.catchAll = catchAll }
    }

    private mutating func poolMembers(_ value: JSONValue, _ place: String, _ id: String) -> [PoolMember] {
        let before = faults.count
        var found: [PoolMember] = []
        var seen: Set<MemberIndex> = []
        for (entry, place) in elements(value["members"], place + "/members") {
            let (name, at) = entry.kind == .string ? (entry, place) : (entry["member"], place + "/member")
            guard let index = member(name, at) else { continue }
            guard seen.insert(index).inserted else {
                note(.duplicate, at: at, "\(quoted(rules.members[index].id)) stands twice in the pool")
                continue
            }
            let weight = integer(entry["weight"]).flatMap { UInt32(exactly: $0) }
            found.append(PoolMember(member: index, weight: weight ?? rules.members[index].weight))
        }
        for (name, place) in elements(value["teams"], place + "/teams") {
            guard let team = reference(name, place, in: teamNumbers, .unknownTeam, "team") else { continue }
            // Who is listed too has the weight of the list.
            for (number, member) in rules.members.enumerated() where member.team == TeamIndex(team) {
                guard seen.insert(MemberIndex(number)).inserted else { continue }
                found.append(PoolMember(member: MemberIndex(number), weight: member.weight))
            }
        }
        let isWhole = faults.count == before && !misshapen.contains { $0.hasPrefix(place + "/") }
        if isWhole, !found.contains(where: { rules.members[$0.member].isActive }) {
            note(
                .emptyPool, at: place,
                found.isEmpty ? "pool \(quoted(id)) has no member" : "pool \(quoted(id)) has no active member")
        }
        if found.count > PolicyLimits.poolMembersMax {
            note(
                .poolTooLarge, at: place + (value["members"] == nil ? "/teams" : "/members"),
                "pool \(quoted(id)) has \(found.count) members; \(PolicyLimits.poolMembersMax) are what a decision can record"
            )
        }
        return found
    }

    private mutating func strategies(_ list: JSONValue?, _ place: String) -> [Strategy] {
        var found: [Strategy] = []
        for (word, place) in texts(list, place) {
            guard let strategy = Strategy(rawValue: word) else { continue }
            if found.contains(strategy) {
                note(.duplicate, at: place, "\(quoted(word)) stands twice")
            } else if found.contains(.rotation) {
                note(.badOrder, at: place, "rotation always finds one, so nothing can follow it")
            }
            found.append(strategy)
        }
        if !found.contains(.rotation) { found.append(.rotation) }
        return found
    }

    private mutating func pull(_ value: JSONValue?, _ place: String) -> Pull? {
        guard let value, value.kind == .object else { return nil }
        var pull = Pull()
        pull.opensAtPercent = integer(value["opens_at_percent"])
        if let lease = seconds(value["lease"], place + "/lease") {
            if lease == 0 { note(.badDuration, at: place + "/lease", "a lease takes some time") }
            pull.leaseSeconds = lease
        }
        pull.permitsPicking = value["picking"]?.boolean ?? false
        pull.order = choice(value["order"]) ?? .due
        if let cooldown = value["release_cooldown"], cooldown.kind == .object {
            let place = place + "/release_cooldown"
            let window = seconds(cooldown["window"], place + "/window")
            let length = seconds(cooldown["cooldown"], place + "/cooldown")
            if let releases = integer(cooldown["releases"]), let window, let length {
                pull.releaseCooldown = ReleaseCooldown(releases: releases, windowSeconds: window, seconds: length)
            }
        }
        return pull
    }

    private mutating func targets(_ list: JSONValue?, _ place: String) -> [ResponseTargetIndex] {
        var found: [ResponseTargetIndex] = []
        for (name, place) in elements(list, place) {
            guard
                let number = reference(name, place, in: targetNumbers, .unknownTarget, "response target"),
                case let index = ResponseTargetIndex(number)
            else { continue }
            if found.contains(index) { note(.duplicate, at: place, "\(quoted(name.string ?? "")) stands twice") }
            found.append(index)
        }
        return found
    }

    /// Settings of a pool that cannot work together.
    private mutating func check(_ pool: Pool, _ value: JSONValue, _ place: String) {
        if !pool.pushes, pool.pull == nil {
            note(
                .contradiction, at: place + "/push",
                "nothing is pushed and nobody may claim: give it pull, or leave push out")
        }
        if !pool.pushes, pool.pull?.opensAtPercent != nil {
            note(
                .contradiction, at: place + "/pull/opens_at_percent",
                "has no meaning without push: the queue is always open")
        }
        if let percent = pool.pull?.opensAtPercent, pool.responseTargets.isEmpty, pool.pushes {
            note(
                .contradiction, at: place + "/pull/opens_at_percent",
                "there is no response target of which \(percent) % could pass")
        }
        let active = pool.members.lazy.filter { [rules] in rules.members[$0.member].isActive }
        if !pool.requiredSkills.isEmpty, !active.isEmpty,
            !active.contains(where: { [rules] in rules.members[$0.member].skills.isSuperset(of: pool.requiredSkills) })
        {
            note(.emptyPool, at: place + "/required_skills", "no active member of the pool has all required skills")
        }
        if pool.strategies.contains(.skill), pool.preferredSkills.isEmpty, pool.language != .prefer {
            note(
                .contradiction, at: place + "/strategies",
                "the strategy skill needs preferred_skills, or language: prefer, to tell members apart")
        }
    }

    mutating func takeTerritories() {
        for (value, place, id) in named("territories") {
            let condition = condition(value["when"], place + "/when")
            let pool = pool(value["pool"], place + "/pool")
            guard let condition, let pool else { continue }
            rules.territories.append(Territory(id: id, condition: condition, pool: pool))
        }
    }
}

func precedesInBytes(_ left: String, _ right: String) -> Bool { left.utf8.lexicographicallyPrecedes(right.utf8) }
