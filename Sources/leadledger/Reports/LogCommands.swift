import ArgumentParser
import Control
import Glibc
import JSON
import LeadLedgerClient

struct ReplayCommand: LedgerCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay",
        abstract: "Write events as they stand in the log, one a line, in order.",
        discussion: "Without --to, up to where the log ended when the command began.")

    @OptionGroup var common: CommonOptions
    @Option(help: "The first position.")
    var from = 0
    @Option(help: "The position behind the last one.")
    var to: Int?
    @Option(help: "Only events of this type; may stand several times.")
    var type: [String] = []
    @Option(help: "Only events of this lead; may stand several times.")
    var lead: [String] = []
    @Option(help: "Only events that this system sent; may stand several times.")
    var source: [String] = []
    @Option(help: "Only captures and touches of this channel, or with '' of none; may stand several times.")
    var channel: [String] = []

    private var hasFilter: Bool { !(type.isEmpty && lead.isEmpty && source.isEmpty && channel.isEmpty) }

    func validate() throws {
        guard from >= 0, to ?? 0 >= 0 else { throw ValidationError("positions count from 0") }
    }

    func run(in context: Context) throws {
        let client = try context.connect()
        var next = from
        var end = to
        while end.map({ next < $0 }) ?? true {
            let params = object {
                $0.member("from", next)
                $0.member("to", end)
                $0.member("limit", 1_000)
                if hasFilter {
                    $0.key("filter")
                    $0.beginObject()
                    $0.member("types", texts: type)
                    $0.member("leads", texts: lead)
                    $0.member("sources", texts: source)
                    $0.member("channels", texts: channel)
                    $0.endObject()
                }
            }
            let page = try client.call(.logRead, params: params) { result in
                writeEvents(result, to: context.output)
                return (next: result["next"]?.int64, head: result["head"]?.int64)
            }
            guard let reached = page.next, let head = page.head else {
                throw ClientError.protocolBroken(reason: "an answer without next and head")
            }
            end = min(end ?? Int(head), Int(head))
            guard Int(reached) > next || next >= end ?? 0 else {
                throw ClientError.protocolBroken(reason: "next does not advance")
            }
            next = Int(reached)
        }
    }
}

struct TailCommand: LedgerCommand {
    static let configuration = CommandConfiguration(
        commandName: "tail", abstract: "Write the last events, one a line; with --follow, then those that come.")

    @OptionGroup var common: CommonOptions
    @Option(name: [.customShort("n"), .long], help: "How many of the last events.")
    var lines = 10
    @Flag(name: .shortAndLong, help: "Go on with what is appended from now on, until interrupted.")
    var follow = false

    /// Events sent ahead of what was written. By taste: a round trip for each half of it.
    private static let credit = 2_000

    func validate() throws {
        guard (0...10_000).contains(lines) else { throw ValidationError("--lines takes a number from 0 to 10000") }
    }

    func run(in context: Context) throws {
        let output = context.output
        let client = try context.connect()
        let head = try client.call(.status) { Int($0["head"]?.int64 ?? 0) }
        var next = max(0, head - lines)
        while next < head {
            let params = object {
                $0.member("from", next)
                $0.member("to", head)
                $0.member("limit", head - next)
            }
            let reached = try client.call(.logRead, params: params) { result in
                writeEvents(result, to: output)
                return Int(result["next"]?.int64 ?? 0)
            }
            guard reached > next else { throw ClientError.protocolBroken(reason: "next does not advance") }
            next = reached
        }
        if follow { try self.follow(client, from: next, output) }
    }

    private func follow(_ client: LedgerClient, from position: Int, _ output: Output) throws {
        let subscribe = object {
            $0.member("from", position)
            $0.member("credit", Self.credit)
        }
        let subscription = try client.call(.logSubscribe, params: subscribe) { Int($0["subscription"]?.int64 ?? 0) }
        var written = 0
        while true {
            if !client.hasMessage { output.flush() }
            let refusal: ServerError? = try client.receive { message in
                switch message {
                case .notification(let method, let params) where method.equals(NotificationName.logEvents):
                    written += writeEvents(params, to: output)
                    return nil
                case .notification(let method, let params) where method.equals(NotificationName.logEnded):
                    return params["error"].map { ServerError($0) }
                case .notification, .result: return nil
                case .refused(let error): return error
                }
            }
            if let refusal { throw ClientError.server(refusal) }
            if written >= Self.credit / 2 {
                let credit = object {
                    $0.member("subscription", subscription)
                    $0.member("events", written)
                }
                credit.withUnsafeBytes { client.send(.logCredit, params: $0) }
                written = 0
            }
        }
    }
}

/// Writes the `events` of an answer, one a line, and says how many.
@discardableResult
private func writeEvents(_ answer: JSONValue, to output: Output) -> Int {
    var count = 0
    for event in answer["events"]?.elements ?? answer.elements {
        output.line(event.raw)
        count += 1
    }
    return count
}
