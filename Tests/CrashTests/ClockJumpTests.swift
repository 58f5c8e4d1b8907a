import TestSupport
import Testing

extension ProgramTests {
    /// The daemon under a wall clock that does what it likes; the walks over the log alone are `ClockWalkTests`.
    @Suite struct ClockJumpTests {
        private let place = LedgerPlace()

        @Test func `an hour back, ten years on, a leap and a clock that stands change no order and stop no deadline`()
            throws
        {
            let clock = try ClockShim(scratch: place.scratch)
            var daemon = try place.serve(variables: clock.variables)
            var client = try place.connect()
            try capture(5, client)
            // The shim is in place, or all that follows proves nothing.
            clock.set(secondsAhead: 100)
            let ahead = try append(client, "ahead")
            clock.set(secondsAhead: 0)
            #expect(try append(client, "behind a little") == ahead, "recorded-at stands until the clock has caught up")

            // 1. An hour back: nothing new is stored, what is stored is still told, reads and read models go on.
            clock.set(secondsAhead: -3_600)
            let refusal = try #require(try client.refusal("append", captureParams("L-back")))
            #expect(refusal.name == "clock_behind", "\(refusal)")
            #expect(refusal.data["last_recordedtime"].string == ahead)
            #expect((refusal.data["now"].string ?? "9") < ahead)
            #expect(try client.ask("append", captureParams("L-0"))["duplicate"].boolean == true)
            #expect(try client.askWhenFresh("lead.get", #"{"lead":"L-0"}"#)["lead"]["version"].integer == 3)
            #expect(try client.readLog().count == 7)
            // A restart does not make it right.
            #expect(try daemon.terminate() == .exited(0))
            daemon = try place.serve(variables: clock.variables)
            client = try place.connect()
            #expect(try client.refusal("append", captureParams("L-back"))?.name == "clock_behind")

            // 2. Put right, and a leap backwards: the same seconds twice.
            clock.set(secondsAhead: 110)
            let before = try append(client, "before the leap")
            clock.set(secondsAhead: 100)
            #expect(try append(client, "in the leap") == before)

            // 3. It stands: everything that waits goes by another clock.
            let late = try place.connect()
            try late.send(bytes: Array("{".utf8))
            clock.freeze()
            let frozen = try append(client, "frozen")
            for number in 0..<50 { #expect(try append(client, "frozen \(number)") == frozen) }
            let waited = try client.ask(
                "append",
                #"{"events":[{"id":"w","source":"urn:test","type":"lead.captured","subject":"L-w","data":{}}],"wait":{"projection":"leads"}}"#
            )
            #expect(waited["projection"]["name"].string == "leads", "\(waited)")
            let subscriber = try place.connect()
            let head = try client.ask("status")["head"].integer!
            try subscriber.ask("log.subscribe", #"{"from":\#(head),"credit":10}"#)
            var methods: [String] = []
            while methods.last != "log.heartbeat" {
                methods.append(try JSONTree(try #require(try subscriber.line()))["method"].string ?? "?")
            }
            #expect(methods == ["log.caught_up", "log.heartbeat"])
            #expect(try JSONTree(try #require(try late.line()))["error"]["data"]["name"].string == "line_unfinished")

            // 4. Ten years on, and back: only where the clock has come to what was recorded is anything stored again.
            clock.set(secondsAhead: 10 * 365 * 86_400)
            let decade = try append(client, "ten years on")
            clock.set(secondsAhead: 0)
            #expect(try client.refusal("append", captureParams("L-after"))?.data["last_recordedtime"].string == decade)
            clock.set(secondsAhead: 10 * 365 * 86_400 + 60)
            #expect(try append(client, "after") > decade)

            // The order is that of the commits, and recorded-at never goes back in it.
            let events = try client.readLog()
            #expect(events.count == 63)
            #expect(events.map { $0["position"].integer } == Array(0..<events.count))
            let times = events.map { String($0["recordedtime"].string?.dropLast() ?? "") }
            #expect(times == times.sorted() && Set(times).count > 8, "\(times)")
            #expect(try daemon.terminate() == .exited(0))
            let check = try place.check()
            #expect(check.status == .exited(0) && check.findings == [], "\(check)")
        }

        /// - Returns: when it was recorded.
        private func append(_ client: LineClient, _ id: String) throws -> String {
            let result = try client.ask(
                "append",
                #"{"events":[{"id":"\#(id)","source":"urn:test","type":"lead.noted","subject":"L-0","data":{"custom":{"n":1}}}]}"#
            )
            #expect(result["duplicate"].boolean == false, "\(result)")
            return result["recordedtime"].string ?? "none"
        }
    }
}
