import JSON
import Testing

@testable import LeadLedger

@Suite struct Base64Tests {
    /// RFC 4648 section 10.
    @Test(arguments: [
        ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ])
    func `the vectors of RFC 4648 hold`(plain: String, encoded: String) {
        let bytes = Array(plain.utf8)
        var output = [UInt8](repeating: 0, count: Base64.encodedCount(of: bytes.count))
        encode(bytes, to: &output)
        #expect(String(decoding: output, as: UTF8.self) == encoded)
    }

    @Test func `bytes above 127 use the letters + and /`() {
        let bytes: [UInt8] = [0xFB, 0xFF, 0xBF]
        var output = [UInt8](repeating: 0, count: 4)
        encode(bytes, to: &output)
        #expect(String(decoding: output, as: UTF8.self) == "+/+/")
    }

    private func encode(_ bytes: [UInt8], to output: inout [UInt8]) {
        guard !output.isEmpty else { return }
        bytes.withUnsafeBytes { source in
            output.withUnsafeMutableBytes { place in
                var text = TextCursor(place.baseAddress!)  // not empty
                text.base64(source)
                #expect(place.baseAddress!.distance(to: text.at) == place.count)
            }
        }
    }
}
