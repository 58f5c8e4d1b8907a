// From a lead's touches and conversions to credit: paths first (`Journey`), then each path's shares (`AttributionModel`).
// All of it is integer arithmetic on the arguments, so any machine gives the same bits.
//
// Invariants:
//   credit-is-exact     The credits of one conversion sum to 10^9, its value credits to its value times 10^6.
//   order-is-irrelevant The order in which touches, conversions and shares are handed in changes nothing.

/// When something happened and where it stands in the log: what orders touches and conversions of one lead.
package struct Occurrence: Hashable, Comparable, Sendable, BitwiseCopyable {
    package var time: Instant
    /// The event's position; where two happened at the same instant, the one recorded first is the earlier one.
    package var position: UInt64

    @inlinable
    package init(time: Instant, position: UInt64) {
        self.time = time
        self.position = position
    }

    @inlinable
    package static func < (left: Occurrence, right: Occurrence) -> Bool {
        left.time != right.time ? left.time < right.time : left.position < right.position
    }
}

// MARK: - Paths

/// The path builder `default`: no lookback, no transform, every touch counts.
package enum Journey {
    package static let defaultBuilderName = "default"

    /// A capture or an inbound touch of the lead.
    package struct Touch: Sendable, BitwiseCopyable {
        package var at: Occurrence
        package var isCapture: Bool

        package init(at: Occurrence, isCapture: Bool) {
            self.at = at
            self.isCapture = isCapture
        }
    }

    /// A conversion of the kind asked for.
    package struct Conversion: Sendable, BitwiseCopyable {
        package var at: Occurrence
        /// Un-won since: it has no path, and cuts no other's.
        package var isRevoked: Bool

        package init(at: Occurrence, isRevoked: Bool = false) {
            self.at = at
            self.isRevoked = isRevoked
        }
    }

    package struct Path: Equatable, Sendable {
        /// Index into the conversions handed in.
        package var conversion: Int
        /// Indices into the touches handed in, in the order of the path. Empty: the conversion is unattributed.
        package var touches: [Int]
        /// The index of the capture that counts as at the conversion because it came after it, if it is in this path.
        package var movedCapture: Int?

        package var isAttributed: Bool { !touches.isEmpty }
    }

    /// The path of every conversion that is not revoked, in the order of the conversions' instants.
    ///
    /// A path is the touches at or before the conversion's instant and after the instant of the conversion before it, in the
    /// order of (time, position). Only instants decide on which side of a conversion a touch lies: one at the very instant
    /// of a conversion belongs to it and not to the next, wherever the log has them. So of two conversions at one instant
    /// the first in the log takes the touches and the other one is unattributed.
    ///
    /// Where the lead's first conversion is earlier than its earliest capture, that capture counts as at the conversion and
    /// is flagged (`movedCapture`); later captures never move.
    package static func paths(touches: [Touch], conversions: [Conversion]) -> [Path] {
        let ordered = conversions.indices.filter { !conversions[$0].isRevoked }
            .sorted { conversions[$0].at < conversions[$1].at }
        guard let first = ordered.first else { return [] }

        // 1. Move the earliest capture where it must be.
        var moved: Int?
        let earliestCapture = touches.indices.filter { touches[$0].isCapture }.min { touches[$0].at < touches[$1].at }
        if let earliestCapture, conversions[first].at.time < touches[earliestCapture].at.time {
            moved = earliestCapture
        }
        func effective(_ touch: Int) -> Occurrence {
            touch == moved
                ? Occurrence(time: conversions[first].at.time, position: touches[touch].at.position) : touches[touch].at
        }

        // 2. Walk touches and conversions side by side.
        let sorted = touches.indices.sorted { effective($0) < effective($1) }
        var paths: [Path] = []
        paths.reserveCapacity(ordered.count)
        var next = sorted.startIndex
        for conversion in ordered {
            let start = next
            while next < sorted.endIndex, effective(sorted[next]).time <= conversions[conversion].at.time { next += 1 }
            let touchesOfPath = Array(sorted[start..<next])
            paths.append(
                Path(
                    conversion: conversion, touches: touchesOfPath,
                    movedCapture: conversion == first ? moved : nil))
        }
        return paths
    }
}

// MARK: - Credit

/// The units in which credit is given out: whole numbers, so that they add up.
package enum Credit {
    /// One conversion.
    package static let perConversion: Int128 = 1_000_000_000
    /// One minor unit of money.
    package static let perMinorUnit: Int128 = 1_000_000
    /// Digits after the point of one conversion, and beyond the minor unit of a value.
    package static let conversionDigits = 9
    package static let minorUnitDigits = 6

    /// The value of a conversion in units of value credit.
    package static func units(ofMinorUnits amount: Int64) -> Int128 { Int128(amount) * perMinorUnit }

    /// Compares two digests byte by byte, as the tie rule does.
    package static func isSmaller(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        left.lexicographicallyPrecedes(right)
    }
}

/// How one conversion is shared among the touches of its path.
package enum AttributionModel: String, CaseIterable, Sendable {
    /// All to the first touch.
    case first
    /// All to the last touch.
    case last
    /// The same to each touch, repeats included.
    case linear

    package var name: String { rawValue }

    /// One dimension value's part of one conversion, in the units of the total divided.
    package struct Share<Key: Hashable> {
        package var key: Key
        package var amount: Int128
    }

    /// Divides `total` among the distinct dimension values of a path: touches' credits are summed for each value first, and
    /// only then rounded, by largest remainder, so that the shares sum to `total` exactly.
    ///
    /// - Parameters:
    ///   - path: the dimension value of each touch, in the order of the path; not empty.
    ///   - total: `Credit.perConversion`, or `Credit.units(ofMinorUnits:)` of the value.
    ///   - digest: SHA-256 of the key; among equal remainders the smaller one goes first. Asked only where that decides.
    /// - Returns: the values that the model gives anything to (also where that rounds to 0), in the order of their first touch.
    package func shares<Key: Hashable>(
        of total: Int128, along path: [Key], digest: (Key) -> [UInt8]
    ) -> [Share<Key>] {
        precondition(!path.isEmpty, "a path without touches is unattributed, not shared")
        switch self {
        case .first: return [Share(key: path[0], amount: total)]
        case .last: return [Share(key: path[path.count - 1], amount: total)]
        case .linear:
            let (keys, counts) = AttributionModel.counts(along: path)
            if keys.count == 1 { return [Share(key: keys[0], amount: total)] }
            let amounts = LargestRemainder.divide(total, by: counts) {
                Credit.isSmaller(digest(keys[$0]), digest(keys[$1]))
            }
            return keys.indices.map { Share(key: keys[$0], amount: amounts[$0]) }
        }
    }

    /// How many touches each distinct value has, in the order of the first of them.
    private static func counts<Key: Hashable>(along path: [Key]) -> (keys: [Key], counts: [Int64]) {
        var keys: [Key] = []
        var counts: [Int64] = []
        // Nearly all paths hold a handful of values, where looking through a list beats hashing; the dictionary keeps the
        // rest from being quadratic. Where it takes over is a matter of taste.
        var places: [Key: Int] = [:]
        for key in path {
            let place = places.isEmpty ? keys.firstIndex(of: key) : places[key]
            if let place {
                counts[place] += 1
                continue
            }
            keys.append(key)
            counts.append(1)
            if !places.isEmpty {
                places[key] = keys.count - 1
            } else if keys.count > 16 {
                for (index, key) in keys.enumerated() { places[key] = index }
            }
        }
        return (keys, counts)
    }
}

extension AttributionModel.Share: Sendable where Key: Sendable {}
extension AttributionModel.Share: Equatable {}
