import TestSupport
import Testing

/// `--without-models`: the log alone, and read models that go on where they were another time.
@Suite(.timeLimit(.minutes(10))) struct WithoutModelsTests {
    private func capture(_ lead: String, more: String = "") -> String {
        #"{"events":[{"id":"c","source":"test","type":"lead.captured","subject":"\#(lead)","data":{"channel":"web"}}]\#(more)}"#
    }

    @Test func `without read models it appends and reads, refuses what needs one, and they catch up another time`()
        throws
    {
        let place = LedgerPlace()
        let first = try place.serve()
        _ = try place.connect().ask("append", capture("A", more: #","wait":{"projection":"leads"}"#))
        #expect(try first.terminate() == .exited(0))

        let second = try place.serve(["--without-models"])
        let client = try place.connect()
        #expect(try client.ask("append", capture("B"))["first"].integer == 1)
        #expect(try client.ask("log.read", #"{"from":0,"limit":10}"#)["events"].elements.count == 2)
        #expect(try client.ask("projection.list")["projections"].elements.isEmpty)
        #expect(try client.refusal("lead.get", #"{"lead":"A"}"#)?.name == "unknown_projection")
        // Before anything is stored, not after.
        let waiting = try client.refusal("append", capture("C", more: #","wait":{"projection":"leads"}"#))
        #expect(waiting?.name == "unknown_projection")
        #expect(try client.ask("status")["head"].integer == 2)
        #expect(try second.terminate() == .exited(0))

        let third = try place.serve()
        let after = try place.connect()
        _ = try after.ask("append", capture("C", more: #","wait":{"projection":"leads"}"#))
        for lead in ["A", "B", "C"] { #expect(try after.askWhenFresh("lead.get", #"{"lead":"\#(lead)"}"#).isPresent) }
        #expect(try third.terminate() == .exited(0))
    }
}
