import TestSupport

/// A planted fault, to be preloaded: the log's file gets no room ahead of what is written, though it is told that it did. So a full
/// disk, or the limit of a file's length, is met in the middle of a commit.
enum NoRoomAhead {
    /// - Parameter claimsSuccess: whether a commit that failed is reported as a success.
    static func variables(_ library: String, claimsSuccess: Bool = false) -> [String: String] {
        ["LD_PRELOAD": library, "PLANT_CLAIMS_SUCCESS": claimsSuccess ? "1" : ""]
    }

    static func compile(to library: String, scratch: String) throws {
        try compileShim("NoRoomAhead", to: library, scratch: scratch)
    }
}
