import Testing

@testable import Control

@Suite struct AdmissionsTests {
    @Test func `root and the daemon's user are served up to their limit, others never`() {
        var limits = WireLimits()
        limits.connectionsMax = 5
        limits.connectionsPerUserMax = 3
        limits.refusalsMax = 2
        var admissions = Admissions(limits: limits, ownUser: 1_000)
        for _ in 0..<3 { #expect(admissions.admit(1_000) == .served) }
        #expect(admissions.admit(1_000) == .refused(.busy))
        #expect(admissions.admit(1_001) == .refused(.notAllowed))
        #expect(admissions.admit(1_001) == .turnedAway(.notAllowed), "two are being told so already")
        for _ in 0..<2 { #expect(admissions.admit(0) == .served) }
        #expect(admissions.admit(0) == .turnedAway(.busy), "five are served in all")
        admissions.left(1_001, was: .refused(.notAllowed))
        #expect(admissions.admit(0) == .refused(.busy))
        admissions.left(1_000, was: .served)
        #expect(admissions.admit(0) == .served)
        #expect(admissions.servedCount == 5)
    }

    @Test func `nobody is refused even where the daemon runs as nobody`() {
        var admissions = Admissions(limits: WireLimits(), ownUser: 65_534)
        #expect(admissions.admit(65_534) == .refused(.notAllowed))
    }
}
