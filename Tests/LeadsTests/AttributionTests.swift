import TestSupport
import Testing

@testable import Leads

/// Stands in for SHA-256: well spread, so that ties fall either way, and the same everywhere.
private func digest(_ key: String) -> [UInt8] {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for byte in key.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
    return withUnsafeBytes(of: hash.bigEndian) { Array($0) }
}

private func credit(
    _ model: AttributionModel, _ journeys: [(String, Int)], total: Int128 = Credit.perConversion
) -> [String: Int128] {
    var sums: [String: Int128] = [:]
    for (path, conversions) in journeys {
        let keys = path.split(separator: ">").map(String.init)
        for share in model.shares(of: total, along: keys, digest: digest) {
            sums[share.key, default: 0] += share.amount * Int128(conversions)
        }
    }
    return sums
}

@Suite struct AttributionModelTests {
    let journeys = [("direct", 2), ("search>email", 3), ("search>social>email", 5)]

    @Test func `First gives all to the first touch`() {
        #expect(credit(.first, journeys) == ["direct": 2_000_000_000, "search": 8_000_000_000])
    }

    @Test func `Last gives all to the last touch`() {
        #expect(credit(.last, journeys) == ["direct": 2_000_000_000, "email": 8_000_000_000])
    }

    @Test func `Linear gives the same to each touch`() {
        let found = credit(.linear, journeys)
        #expect(found["direct"] == 2_000_000_000)
        // 19/6, 19/6 and 5/3: five conversions are rounded on their own, each by less than 10^-9.
        for (key, numerator, denominator) in [("search", 19, 6), ("email", 19, 6), ("social", 5, 3)]
            as [(String, Int128, Int128)]
        {
            let error = found[key]! * denominator - numerator * 1_000_000_000
            #expect(error.magnitude < 5 * UInt128(denominator), "\(key)")
        }
        #expect(found.values.reduce(0, +) == 10_000_000_000)
    }

    @Test func `Linear counts repeats`() {
        let found = credit(.linear, [("a>a>b", 6)])
        // 2/3 and 1/3 of 10^9: the larger remainder is that of a.
        #expect(found == ["a": 4_000_000_002, "b": 1_999_999_998])
    }

    @Test func `Linear sums a value's touches before it rounds`() {
        let value = Credit.units(ofMinorUnits: 14_000)
        let found = credit(.linear, [("Direct>Organic>Direct", 1)], total: value)
        #expect(found == ["Direct": 9_333_333_333, "Organic": 4_666_666_667])
        #expect(DecimalText.string(found["Direct"]!, fractionDigits: 8, .trimmed) == "93.33333333")
    }

    @Test func `A tie goes to the smaller digest, wherever the value stands in the path`() {
        let smallFirst: (String) -> [UInt8] = { $0 == "b" ? [1] : [2] }
        for path in [["a", "b", "c"], ["c", "b", "a"], ["b", "c", "a"]] {
            let shares = AttributionModel.linear.shares(of: 1_000_000_000, along: path, digest: smallFirst)
            #expect(shares.first { $0.key == "b" }?.amount == 333_333_334)
        }
    }

    @Test func `A path of one touch gives everything, of one value too`() {
        for model in AttributionModel.allCases {
            #expect(model.shares(of: 7, along: ["x"], digest: digest) == [.init(key: "x", amount: 7)])
            #expect(model.shares(of: 7, along: ["x", "x", "x"], digest: digest) == [.init(key: "x", amount: 7)])
        }
    }

    @Test func `A value without amount gives nothing, and a negative one takes away what it gave`() {
        #expect(credit(.linear, [("a>b>b", 1)], total: 0) == ["a": 0, "b": 0])
        let given = credit(.linear, [("a>b>c", 1)], total: 1_000_000)
        #expect(credit(.linear, [("a>b>c", 1)], total: -1_000_000) == given.mapValues { -$0 })
    }

    @Test(arguments: 1...8)
    func `On any path credit and value sum exactly, and the order of touches is irrelevant to linear`(seed: Int) {
        var generator = SeededGenerator(seed: UInt64(seed))
        for _ in 0..<150 {
            let kinds = Int.random(in: 1...40, using: &generator)
            let path = (0..<Int.random(in: 1...90, using: &generator)).map { _ in
                "channel \(Int.random(in: 0..<kinds, using: &generator))"
            }
            let value = Credit.units(ofMinorUnits: .random(in: .min ... .max, using: &generator))
            for model in AttributionModel.allCases {
                for total in [Credit.perConversion, value] {
                    let shares = model.shares(of: total, along: path, digest: digest)
                    let sum = shares.reduce(0) { $0 + $1.amount }
                    let isFair = shares.allSatisfy { share in
                        guard model == .linear else { return true }
                        let touches = Int128(path.count { $0 == share.key })
                        let error = share.amount * Int128(path.count) - total * touches
                        return error.magnitude < UInt128(path.count)
                    }
                    guard sum == total, isFair, Set(shares.map(\.key)).count == shares.count else {
                        Issue.record("seed \(seed): \(model) of \(total) along \(path)")
                        return
                    }
                    if model == .linear {
                        let other = model.shares(of: total, along: path.shuffled(using: &generator), digest: digest)
                        let same =
                            Dictionary(uniqueKeysWithValues: other.map { ($0.key, $0.amount) })
                            == Dictionary(uniqueKeysWithValues: shares.map { ($0.key, $0.amount) })
                        guard same else {
                            Issue.record("seed \(seed): the order of \(path) matters")
                            return
                        }
                    }
                }
            }
        }
    }
}

@Suite struct LargestRemainderTests {
    @Test func `The floors come first, then the largest remainders`() {
        let parts = LargestRemainder.divide(10, by: [1, 2, 3]) { _, _ in false }
        // 1.67, 3.33, 5: one is left, and the first share has the larger remainder.
        #expect(parts == [2, 3, 5])
    }

    @Test func `A weight of nothing gets nothing`() {
        #expect(LargestRemainder.divide(5, by: [0, 1, 1]) { $0 < $1 } == [0, 3, 2])
    }

    @Test func `Totals may need more than 64 bits`() {
        let total = Int128(Int64.max) * 1_000_000
        let parts = LargestRemainder.divide(total, by: [1, 1, 1]) { $0 < $1 }
        #expect(parts.reduce(0, +) == total)
    }

    @Test func `A tie is asked about only where it decides`() {
        var questions = 0
        _ = LargestRemainder.divide(9, by: [1, 1, 1]) { _, _ in
            questions += 1
            return false
        }
        #expect(questions == 0)
    }
}

@Suite struct JourneyTests {
    private func touch(_ second: Int64, _ position: UInt64, capture: Bool = false) -> Journey.Touch {
        Journey.Touch(at: at(second, position), isCapture: capture)
    }

    private func at(_ second: Int64, _ position: UInt64) -> Occurrence {
        Occurrence(time: Instant(microseconds: second * 1_000_000), position: position)
    }

    @Test func `A path is the touches up to the conversion, by time and then by position`() {
        let touches = [touch(5, 9), touch(1, 0, capture: true), touch(5, 7), touch(11, 8)]
        let paths = Journey.paths(touches: touches, conversions: [.init(at: at(10, 10))])
        #expect(paths == [.init(conversion: 0, touches: [1, 2, 0], movedCapture: nil)])
    }

    @Test func `A touch at the instant of a conversion belongs to it, even if it was recorded later`() {
        let touches = [touch(1, 0, capture: true), touch(10, 3)]
        let conversions = [Journey.Conversion(at: at(10, 2)), .init(at: at(20, 4))]
        let paths = Journey.paths(touches: touches, conversions: conversions)
        #expect(paths.map(\.touches) == [[0, 1], []])
        #expect(!paths[1].isAttributed)
    }

    @Test func `Of two conversions at one instant the first in the log takes the touches`() {
        let conversions = [Journey.Conversion(at: at(10, 5)), .init(at: at(10, 4))]
        let paths = Journey.paths(touches: [touch(1, 0, capture: true)], conversions: conversions)
        #expect(paths.map(\.conversion) == [1, 0])
        #expect(paths.map(\.touches) == [[0], []])
    }

    @Test func `A revoked conversion has no path and cuts none`() {
        let touches = [touch(1, 0, capture: true), touch(6, 3)]
        let conversions = [Journey.Conversion(at: at(5, 2), isRevoked: true), .init(at: at(9, 5))]
        #expect(Journey.paths(touches: touches, conversions: conversions).map(\.touches) == [[0, 1]])
        #expect(Journey.paths(touches: touches, conversions: [conversions[0]]).isEmpty)
    }

    @Test func `A capture after the first conversion counts as at it and is flagged`() {
        let touches = [touch(200, 0, capture: true), touch(300, 1, capture: true)]
        let paths = Journey.paths(touches: touches, conversions: [.init(at: at(100, 2)), .init(at: at(400, 3))])
        #expect(
            paths == [
                .init(conversion: 0, touches: [0], movedCapture: 0),
                .init(conversion: 1, touches: [1], movedCapture: nil),
            ])
    }

    @Test func `A moved capture comes after the earlier touches of its path`() {
        let touches = [touch(200, 0, capture: true), touch(50, 1)]
        let paths = Journey.paths(touches: touches, conversions: [.init(at: at(100, 2))])
        #expect(paths == [.init(conversion: 0, touches: [1, 0], movedCapture: 0)])
    }

    @Test func `A later capture never moves`() {
        let touches = [touch(1, 0, capture: true), touch(300, 1, capture: true)]
        let paths = Journey.paths(touches: touches, conversions: [.init(at: at(100, 2))])
        #expect(paths == [.init(conversion: 0, touches: [0], movedCapture: nil)])
    }

    @Test(arguments: 1...5)
    func `The order in which touches and conversions are handed in changes nothing`(seed: Int) {
        var generator = SeededGenerator(seed: UInt64(seed))
        for _ in 0..<200 {
            let touches = (0..<Int.random(in: 0...12, using: &generator)).map {
                touch(.random(in: 0...9, using: &generator), UInt64($0), capture: Bool.random(using: &generator))
            }
            let conversions = (0..<Int.random(in: 0...5, using: &generator)).map {
                Journey.Conversion(
                    at: at(.random(in: 0...9, using: &generator), UInt64(100 + $0)),
                    isRevoked: Int.random(in: 0..<4, using: &generator) == 0)
            }
            let expected = Journey.paths(touches: touches, conversions: conversions)
            let shuffledTouches = touches.shuffled(using: &generator)
            let shuffledConversions = conversions.shuffled(using: &generator)
            let found = Journey.paths(touches: shuffledTouches, conversions: shuffledConversions)
            let isSame =
                expected.map { $0.touches.map { touches[$0].at.position } }
                == found.map { $0.touches.map { shuffledTouches[$0].at.position } }
                && expected.map { conversions[$0.conversion].at } == found.map { shuffledConversions[$0.conversion].at }
            let used = found.flatMap(\.touches)
            guard isSame, Set(used).count == used.count, found.count == conversions.count(where: { !$0.isRevoked })
            else {
                Issue.record("seed \(seed): \(touches) \(conversions)")
                return
            }
        }
    }
}
