import Synchronization
import TestSupport

/// A server of lines that answers as the daemon would, but for one fault.
final class PlantedServer: Sendable {
    enum Fault: CaseIterable, Sendable {
        /// It does nothing wrong: that the harness finds nothing where nothing is.
        case none
        case dropsAnAnswer
        case answersTwice
        case swapsTwoAnswers
        case answersInHalves
        /// What a crash looks like from outside: the connection ends.
        case diesOnAControlCharacter
        case hangs
        case callsItABug
        case refusesWhatIsGood
        case notifiesWhoDidNotSubscribe
        case sendsEventsTwice
    }

    let path: String
    private let daemon: FakeDaemon

    init(_ fault: Fault) throws {
        let lines = Shared()
        daemon = try FakeDaemon { connection in
            var kept: String?
            var subscriptions = 0
            while let line = connection.line() {
                guard !line.utf8.allSatisfy({ [0x20, 0x09, 0x0D].contains($0) }) else { continue }
                let (reply, credit) = Self.reply(to: line, &subscriptions)
                // Seldom, as real faults are.
                let isDue = lines.next() % 97 == 96
                switch fault {
                case .dropsAnAnswer where isDue: continue
                case .answersTwice where isDue: connection.send(reply)
                case .swapsTwoAnswers where isDue && kept == nil:
                    kept = reply
                    continue
                case .answersInHalves where isDue:
                    connection.send(String(reply.dropLast(2)))
                    continue
                case .diesOnAControlCharacter where line.utf8.contains { $0 < 0x20 && $0 != 0x09 && $0 != 0x0D }:
                    return
                case .hangs where isDue: return Monotonic.sleep(microseconds: 4_000_000)
                case .callsItABug where isDue:
                    connection.refuse(line, name: "internal_error", code: -32_603)
                    continue
                case .refusesWhatIsGood where isDue:
                    connection.send(reply.replacing(#""result":{}"#, with: Self.error))
                    continue
                case .notifiesWhoDidNotSubscribe where isDue: connection.send(Self.event(of: subscriptions + 1))
                default: break
                }
                connection.send(reply)
                if let credit, credit >= 2 {
                    connection.send(Self.event(of: subscriptions))
                    if fault == .sendsEventsTwice { connection.send(Self.event(of: subscriptions)) }
                }
                if let earlier = kept {
                    connection.send(earlier)
                    kept = nil
                }
            }
            if let kept { connection.send(kept) }
        }
        path = daemon.path
    }

    private static let error = #""error":{"code":-1,"message":"no","data":{"name":"busy","hint":"wait"}}"#

    /// - Returns: the reply, and the credit of a subscription that it grants.
    private static func reply(to line: String, _ subscriptions: inout Int) -> (String, credit: Int?) {
        guard let tree = try? JSONTree(line) else { return (#"{"jsonrpc":"2.0","id":null,\#(error)}"#, nil) }
        let id: String
        switch tree["id"] {
        case .string, .number, .null: id = tree["id"].text
        default: return (#"{"jsonrpc":"2.0","id":null,\#(error)}"#, nil)
        }
        guard tree["method"].string == "log.subscribe", let credit = tree["params"]["credit"].integer else {
            return (#"{"jsonrpc":"2.0","id":\#(id),"result":{}}"#, nil)
        }
        subscriptions += 1
        return (#"{"jsonrpc":"2.0","id":\#(id),"result":{"subscription":\#(subscriptions),"head":1}}"#, credit)
    }

    private static func event(of subscription: Int) -> String {
        #"{"jsonrpc":"2.0","method":"log.events","params":{"subscription":\#(subscription),"events":[{"position":0}],"next":1}}"#
    }

    private final class Shared: Sendable {
        private let count = Atomic<Int>(0)
        func next() -> Int { count.add(1, ordering: .relaxed).oldValue }
    }
}

extension JSONTree {
    /// A string, number or null as JSON.
    fileprivate var text: String {
        guard case .string(let string) = self else { return description }
        var text = "\""
        for scalar in string.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case _ where scalar.value < 0x20:
                text += "\\u00" + (scalar.value < 16 ? "0" : "") + String(scalar.value, radix: 16)
            default: text.unicodeScalars.append(scalar)
            }
        }
        return text + "\""
    }
}
