import Foundation
import JSON
import Testing

/// Documents with seeded damage. Goal: no crash, and a verdict that does not depend on white space or on the buffers the
/// parser has used before. Method: flip, drop, double and swap bytes of good documents; one parser serves all of them,
/// a fresh one repeats each; what is accepted must read the same after minifying.
@Suite struct JSONMutationTests {
    private struct Random: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            // SplitMix64.
            state &+= 0x9E37_79B9_7F4A_7C15
            var z = state
            z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
            z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
            return z ^ (z >> 31)
        }
    }

    private let seeds = [
        #"{"id":"web-1","n":[1,2.5,-3e2,1e400,12345678901234567890123],"t":true,"f":false,"z":null,"o":{"a":{"b":[]}}}"#,
        #" [ "\u00e9\ud83d\ude00\\\"\/\b" , { "k" : "v" , "k2" : [ [ ] , { } ] } , "é😀" , 0 , -0.0 ] "#,
        #"{"a":{"a":{"a":[[[[1]]]]}},"\u0062":"b","c\n":"\t"}"#,
        "\"x\"", "-1.25E-3", "[[],{},[{}]]",
    ]

    @Test func `damaged documents are read or refused, always the same way`() throws {
        let seed = ProcessInfo.processInfo.environment["LEADLEDGER_TEST_SEED"].flatMap { UInt64($0) } ?? 20_260_301
        var random = Random(state: seed)
        var parser = JSONParser()
        var accepted = 0
        let alphabet = Array("{}[]:,\"\\0123456789.eE+-truefalsn u\u{e9}\n\t".utf8) + [0x00, 0x80, 0xFF, 0xED, 0xA0]
        for round in 0..<20_000 {
            var bytes = Array(seeds[Int.random(in: 0..<seeds.count, using: &random)].utf8)
            for _ in 0..<Int.random(in: 0...3, using: &random) where !bytes.isEmpty {
                let at = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<5, using: &random) {
                case 0: bytes[at] = alphabet.randomElement(using: &random)!
                case 1: bytes.remove(at: at)
                case 2: bytes.insert(alphabet.randomElement(using: &random)!, at: at)
                case 3: bytes.swapAt(at, Int.random(in: 0..<bytes.count, using: &random))
                default: bytes.append(contentsOf: bytes[at...])
                }
            }
            let fresh = refusal(bytes)
            do throws(JSONError) {
                let (first, text) = try parser.withDocument(bytes) { root in (shape(root), [UInt8](root.raw)) }
                #expect(fresh == nil, "seed \(seed), round \(round)")
                let second = try parser.withDocument(text) { root in shape(root) }
                #expect(first == second, "seed \(seed), round \(round)")
                accepted += 1
            } catch {
                #expect(fresh == error, "seed \(seed), round \(round): \(String(decoding: bytes, as: UTF8.self))")
                #expect(error.offset != nil, "seed \(seed), round \(round): \(String(decoding: bytes, as: UTF8.self))")
            }
        }
        #expect(accepted > 4_000 && accepted < 16_000, "seed \(seed): \(accepted) of 20,000 accepted")
    }
}
