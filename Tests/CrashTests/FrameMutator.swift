import TestSupport

// FrameMutator: makes what a broken or hostile client sends out of what a good one did. Everything follows from the seed.

/// What goes over one connection, in which pieces.
struct Attack: Sendable {
    enum Kind: String, CaseIterable, Sendable {
        case whole, flippedBits, flippedBytes, truncated, spliced, joined, split, byteByByte, inserted, repeated, suite,
            nested, overlong, endless, files, abandoned
    }

    var kind: Kind
    var pieces: [[UInt8]]
    /// Files sent along with the first piece.
    var files = 0
    /// Lines that are not what a good client says: changed, run together, too long, or none of its requests from the start.
    var malformed = 0
    /// Whether the client goes without looking at what it was answered.
    var isAbandoned = false

    var bytes: [UInt8] { Array(pieces.joined()) }
}

struct FrameMutator {
    private var generator: SeededGenerator
    private let conversation: [String]
    private let suite: [[UInt8]]
    private let tokens: [String]
    private var number = 0
    private var tokensUsed = 0

    /// - Parameters:
    ///   - conversation: requests as a good client sends them, without newlines. `#` becomes a number of the line, `TOKEN` the next
    ///     of `tokens`.
    ///   - suite: documents that are no requests.
    ///   - tokens: of deliveries of a consumer group, as JSON.
    init(
        seed: UInt64, conversation: [String], suite: [[UInt8]],
        tokens: [String] = [#"{"position":0,"attempt":1,"epoch":1}"#]
    ) {
        generator = SeededGenerator(seed: seed)
        self.conversation = conversation
        self.suite = suite
        self.tokens = tokens
    }

    /// About `frames` lines of one kind.
    mutating func attack(_ kind: Attack.Kind, frames: Int) -> Attack {
        var attack = Attack(kind: kind, pieces: [])
        switch kind {
        case .whole: attack.pieces = [Array((0..<frames).map { _ in line() }.joined())]
        case .flippedBits: mutate(frames, of: &attack) { $0.flip(&$1, bits: 1) }
        case .flippedBytes: mutate(frames, of: &attack) { $0.flip(&$1, bits: 8) }
        case .truncated:
            mutate(frames, of: &attack) { $1.removeLast(Int.random(in: 0...$1.count, using: &$0.generator)) }
        case .inserted:
            mutate(frames, of: &attack) { mutator, line in
                for _ in 0..<Int.random(in: 1...4, using: &mutator.generator) {
                    line.insert(.random(in: 0...255, using: &mutator.generator), at: mutator.place(in: line))
                }
            }
        case .repeated:
            // A piece of the line twice: members that stand twice, texts that grow, brackets that do not close.
            mutate(frames, of: &attack) { mutator, line in
                let (a, b) = (mutator.place(in: line), mutator.place(in: line))
                line.insert(contentsOf: Array(line[min(a, b)..<max(a, b)]), at: mutator.place(in: line))
            }
        case .spliced:
            mutate(frames, of: &attack) { mutator, line in
                let other = Array(mutator.conversation.randomElement(using: &mutator.generator)!.utf8)
                line = Array(line[..<mutator.place(in: line)]) + other[mutator.place(in: other)...]
            }
        case .joined:
            // Lines without the newline between them.
            var bytes: [UInt8] = []
            var requests = 0
            for index in 0..<frames {
                let ends = Int.random(in: 0..<3, using: &generator) > 0
                let isLast = ends || index == frames - 1
                let line = line(newline: isLast)
                bytes += line
                if !WirePromise.isBlank(line) { requests += 1 }
                guard isLast else { continue }
                if requests > 1 { attack.malformed += 1 }
                requests = 0
            }
            attack.pieces = [bytes]
        case .split:
            // In two, at every byte of it in turn.
            for _ in 0..<frames {
                let line = line()
                let cut = number % line.count
                attack.pieces += [Array(line[..<cut]), Array(line[cut...])]
            }
        case .byteByByte: attack.pieces = (0..<max(1, frames / 20)).flatMap { _ in line().map { [$0] } }
        case .suite:
            attack.malformed = frames
            attack.pieces = (0..<frames).map { _ in
                let body = suite.randomElement(using: &generator) ?? []
                return Bool.random(using: &generator)
                    ? body + newline
                    : Array(#"{"jsonrpc":"2.0","id":"s","method":"append","params":"#.utf8) + body + Array("}\n".utf8)
            }
        case .nested:
            attack.malformed = frames
            attack.pieces = (0..<frames).map { _ in
                let depth = Int.random(in: 20...3_000, using: &generator)
                let (open, close) = Bool.random(using: &generator) ? ("[", "]") : (#"{"a":"#, "}")
                return Array(
                    request(
                        7, "append",
                        #"{"events":"# + String(repeating: open, count: depth) + "1"
                            + String(repeating: close, count: depth - Int.random(in: 0...1, using: &generator)) + "}"
                    ).utf8) + newline
            }
        case .overlong:
            let length = (1 << 20) + Int.random(in: -2...2, using: &generator)
            let head = Array(#"{"jsonrpc":"2.0","id":1,"method":"status","params":{"a":""#.utf8)
            let text =
                head + [UInt8](repeating: UInt8(ascii: "x"), count: length - head.count - 3) + Array(#""}}"#.utf8)
            attack.pieces = [line(), text + newline, line()]
            attack.malformed = length > 1 << 20 ? 1 : 0
        case .endless:
            attack.pieces = [line(), [UInt8](repeating: UInt8(ascii: "9"), count: 1_200_000)]
            attack.malformed = 1
        case .files:
            attack.pieces = [Array((0..<frames).map { _ in line() }.joined())]
            attack.files = Int.random(in: 1...64, using: &generator)
        case .abandoned:
            mutate(frames, of: &attack) { if Bool.random(using: &$0.generator) { $0.flip(&$1, bits: 1) } }
            attack.pieces.append(Array(line().dropLast(5)))
            attack.isAbandoned = true
            // Nobody looks at what they were answered.
            attack.malformed = 0
        }
        return attack
    }

    private var newline: [UInt8] { [UInt8(ascii: "\n")] }

    private mutating func line(newline: Bool = true) -> [UInt8] {
        number += 1
        // Each event gets a name of its own, so that mutations of what would be stored are not all duplicates.
        var text = conversation[number % conversation.count].replacing("#", with: "\(number)")
        if text.contains("TOKEN") {
            text = text.replacing("TOKEN", with: tokens[tokensUsed % tokens.count])
            tokensUsed += 1
        }
        return Array(text.utf8) + (newline ? self.newline : [])
    }

    private mutating func mutate(
        _ frames: Int, of attack: inout Attack, _ change: (inout Self, inout [UInt8]) -> Void
    ) {
        for _ in 0..<frames {
            let good = line(newline: false)
            var line = good
            change(&self, &line)
            // By chance nothing is changed, or nothing is left.
            if line != good, !WirePromise.isBlank(line) { attack.malformed += 1 }
            attack.pieces.append(line + newline)
        }
    }

    private mutating func flip(_ line: inout [UInt8], bits: Int) {
        for _ in 0..<bits {
            line[Int.random(in: 0..<line.count, using: &generator)] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
        }
    }

    private mutating func place(in line: [UInt8]) -> Int { Int.random(in: 0...line.count, using: &generator) }
}

/// What the wire promises for what was sent: one reply a line, in order; a blank line none; a line over the limit one, and
/// nothing after it.
struct WirePromise {
    /// What a reply is due to.
    struct Request {
        /// Where the line is JSON that has one; nil where that is for the daemon to judge.
        var id: JSONTree?
        /// The line, where it is JSON, and `absent` where it is none.
        var tree = JSONTree.absent
    }

    var requests: [Request] = []
    var replies: Int { requests.count }
    /// Whether the daemon ends the connection by itself.
    var endsByItself = false

    init(for bytes: [UInt8], frameBytesMax: Int = 1 << 20) {
        var start = 0
        while start < bytes.count {
            let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n"))
            if (end ?? bytes.count) - start > frameBytesMax {
                requests.append(Request())
                endsByItself = true
                return
            }
            guard let end else { return }
            if !Self.isBlank(bytes[start..<end]) { requests.append(Self.request(bytes[start..<end])) }
            start = end + 1
        }
    }

    static func isBlank(_ line: some Sequence<UInt8>) -> Bool {
        line.allSatisfy { [0x20, 0x09, 0x0D, 0x0A].contains($0) }
    }

    private static func request(_ line: ArraySlice<UInt8>) -> Request {
        guard let text = String(validating: line, as: UTF8.self), let tree = try? JSONTree(text) else {
            return Request()
        }
        switch tree["id"] {
        // One that is too long is not echoed: half of what may be told apart here is left to the wire's own tests.
        case .string(let id): return Request(id: id.utf8.count < 20 ? tree["id"] : nil, tree: tree)
        case .number(let id): return Request(id: id.utf8.count < 120 ? tree["id"] : nil, tree: tree)
        case .null: return Request(id: .null, tree: tree)
        default: return Request(tree: tree)
        }
    }
}
