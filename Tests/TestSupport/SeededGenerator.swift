/// SplitMix64: the same numbers from the same seed on any machine, so that a failing run can be repeated.
package struct SeededGenerator: RandomNumberGenerator, Sendable {
    package let seed: UInt64
    private var state: UInt64

    package init(seed: UInt64) {
        self.seed = seed
        state = seed
    }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    package mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &self) < percent }
}

/// The seed of a test run: a new one each time, or `LEADLEDGER_TEST_SEED` to repeat one. Printed, so that it can be.
package func announcedSeed(_ test: String) -> UInt64 {
    let seed =
        environmentVariable("LEADLEDGER_TEST_SEED").flatMap { UInt64($0) } ?? UInt64.random(in: 0..<1_000_000_000)
    print("\(test): LEADLEDGER_TEST_SEED=\(seed)")
    return seed
}
