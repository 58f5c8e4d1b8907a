import Testing

@testable import LeadLedger

@Suite struct IdentifierRulesTests {
    private func fault(_ text: String, bytesMax: Int = 128) -> IdentifierFault? {
        Array(text.utf8).withUnsafeBytes { IdentifierRules.fault(in: $0, bytesMax: bytesMax) }
    }

    @Test(arguments: [
        "L-1", "5420aad7fec3549a85876ba1c529bd84", "491701234567", "urn:form:pricing", "a+b", "+123456", "Jürgen",
    ])
    func `an opaque id is taken`(id: String) {
        #expect(fault(id) == nil)
    }

    @Test(arguments: ["jane@example.com", "@", "+491701234567", "tel:+4930123456", "x+1234567"])
    func `an id that names a person is refused`(id: String) {
        #expect(fault(id) == .personal)
    }

    @Test func `seven to fifteen digits behind a plus are a phone number, sixteen are not`() {
        #expect(fault("+123456") == nil)
        #expect(fault("+1234567") == .personal)
        #expect(fault("+123456789012345") == .personal)
        #expect(fault("+1234567890123456") == nil)
    }

    @Test func `an id is 1 to 128 bytes of UTF-8, not characters`() {
        #expect(fault("") == .length(bytes: 0, bytesMax: 128))
        #expect(fault(String(repeating: "x", count: 128)) == nil)
        #expect(fault(String(repeating: "ü", count: 65)) == .length(bytes: 130, bytesMax: 128))
    }

    @Test func `control characters are refused`() {
        #expect(fault("a\nb") == .controlCharacter)
        #expect(fault("a\u{7F}") == .controlCharacter)
    }
}
