import TestSupport

@testable import Leads

/// The zones of this machine.
enum ZoneFiles {
    static func content(_ name: String) throws -> [UInt8] { try bytes(ofFile: "/usr/share/zoneinfo/\(name)") }

    static func zone(_ name: String) throws -> TimeZoneRules { try TimeZoneRules(tzif: content(name)) }

    /// Zones with something of their own: no daylight saving time, half hours of it, changes by night or at midnight, a day left
    /// out, daylight saving time that is winter time, many changes a year, offsets with minutes, changes far after 02:00.
    static let names = [
        "UTC", "Europe/Amsterdam", "Europe/Dublin", "America/New_York", "America/Los_Angeles", "America/Sao_Paulo",
        "America/St_Johns", "America/Nuuk", "Australia/Lord_Howe", "Pacific/Apia", "Pacific/Chatham", "Asia/Kathmandu",
        "Asia/Kolkata", "Asia/Gaza", "Asia/Tehran", "Africa/Casablanca", "Africa/Cairo", "Antarctica/Troll",
        "Pacific/Kwajalein", "America/Havana",
    ]
}

func instant(_ text: String) throws -> Instant { try Instant(rfc3339: text) }

func date(_ text: String) throws -> CivilDate { try Instant(date: text).date }

/// `time("09:30")`, up to `24:00`.
func time(_ text: String) -> TimeOfDay {
    let parts = text.split(separator: ":").map { Int($0)! }
    return TimeOfDay(hour: parts[0], minute: parts[1])!
}

let hour: Int64 = 3_600_000_000
let minute: Int64 = 60_000_000
