import Foundation
import Testing

/// The corpus of the fuzzer, and what it has found, through the same code: what was mended once stays mended where no fuzzer
/// runs. A file whose promise is broken traps and ends the run; the file before it in the output is the one.
@Suite struct CorpusTests {
    @Test(arguments: FuzzTarget.allCases) func `every file of the corpus keeps its promise`(_ target: FuzzTarget) throws
    {
        let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "corpus/\(target.rawValue)")
        let files = try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
            .sorted { $0.lastPathComponent < $1.lastPathComponent }
        for file in files {
            let bytes = [UInt8](try Data(contentsOf: file))
            // As it is, cut short, and with each byte of its beginning changed.
            bytes.withUnsafeBytes { target.run($0) }
            for length in 0..<min(bytes.count, 64) { bytes[..<length].withUnsafeBytes { target.run($0) } }
            for index in 0..<min(bytes.count, 64) {
                var changed = bytes
                changed[index] ^= 0x20
                changed.withUnsafeBytes { target.run($0) }
            }
        }
        #expect(files.count >= 8, "\(target): a corpus of \(files.count) files proves little")
    }

    /// A promise that nothing can break would prove nothing.
    @Test func `a broken promise ends the program`() async {
        await #expect(processExitsWith: .failure) { promise(false, "planted") }
    }
}
