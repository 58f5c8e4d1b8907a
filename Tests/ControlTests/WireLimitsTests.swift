import Testing

@testable import Control

@Suite struct WireLimitsTests {
    @Test func `limits that the descriptors allow stay as they are`() {
        var limits = WireLimits()
        limits.fit(descriptors: limits.descriptorsNeeded)
        #expect(limits.connectionsMax == 256 && limits.connectionsPerUserMax == 240 && limits.refusalsMax == 64)
    }

    @Test(arguments: 0...400) func `fewer descriptors mean fewer connections, and never none`(descriptors: Int) {
        var limits = WireLimits()
        limits.fit(descriptors: descriptors)
        #expect(limits.connectionsMax >= 1 && limits.connectionsPerUserMax >= 1 && limits.refusalsMax >= 1)
        #expect(limits.connectionsPerUserMax <= limits.connectionsMax)
        if descriptors >= WireLimits.descriptorsReserved + 2 { #expect(limits.descriptorsNeeded <= descriptors) }
        // Room for an operator as long as there is any.
        if descriptors >= 200 { #expect(limits.connectionsMax - limits.connectionsPerUserMax == 16) }
    }
}
