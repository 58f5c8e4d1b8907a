import Crypto
package import Leads

extension RoutingHash {
    /// SHA-256 of the bytes, for `RoutingEnvironment`: ties are broken and newcomers tried by it.
    package static func sha256(_ bytes: UnsafeRawBufferPointer) -> RoutingHash {
        var hash = SHA256()
        hash.update(bufferPointer: bytes)
        return hash.finalize().withUnsafeBytes { digest in
            var words = SIMD4<UInt64>()
            for index in 0..<4 {
                words[index] = UInt64(
                    bigEndian: digest.loadUnaligned(fromByteOffset: index * 8, as: UInt64.self))
            }
            return RoutingHash(words)
        }
    }
}
