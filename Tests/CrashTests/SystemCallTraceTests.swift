import Testing

/// The reader of traces, on traces written by hand: what it must let pass, and what it must catch.
@Suite struct SystemCallTraceTests {
    private static let open =
        #"10 openat(AT_FDCWD</>, "/d/log/data.mdb", O_WRONLY|O_DSYNC|O_CLOEXEC) = 5</d/log/data.mdb>"#
    private static let pages = #"11 writev(4</d/log/data.mdb>, [{iov_base="\2\0lead-1\0", iov_len=4096}], 1) = 4096"#
    private static let sync = "11 fdatasync(4</d/log/data.mdb>)       = 0"
    private static let meta = #"11 pwrite64(5</d/log/data.mdb>, "\0", 120, 4128) = 120"#
    private static let reply = #"12 write(9<socket:[7]>, "{\"id\":1,\"result\":{\"subject\":\"lead-1\"}}\n", 50) = 50"#

    private func faults(_ lines: String...) -> [String] {
        let result = SystemCallTrace(Array(lines.joined(separator: "\n").utf8)).faults(subjects: ["lead-1"])
        #expect(result.replies == 1)
        return result.faults
    }

    @Test func `pages, sync, meta, reply is the order`() {
        #expect(faults(Self.open, Self.pages, Self.sync, Self.meta, Self.reply) == [])
    }

    @Test func `a missing or late step is caught`() {
        #expect(faults(Self.open, Self.reply, Self.pages, Self.sync, Self.meta).count == 1)
        #expect(faults(Self.open, Self.pages, Self.meta, Self.reply).count == 1)
        #expect(faults(Self.open, Self.sync, Self.pages, Self.meta, Self.reply).count == 1)
        #expect(faults(Self.open, Self.pages, Self.reply, Self.sync, Self.meta).count == 1)
        #expect(faults(Self.open, Self.pages, Self.sync, Self.reply, Self.meta).count == 1)
        #expect(faults(Self.open, Self.pages, Self.meta, Self.sync, Self.reply).count == 1)
        #expect(faults(Self.open, Self.pages, Self.sync, Self.pages, Self.meta, Self.reply).count == 1)
    }

    @Test func `a sync that failed and a meta page that was not written through are none`() {
        #expect(
            faults(
                Self.open, Self.pages, "11 fdatasync(4</d/log/data.mdb>) = -1 EIO (I/O error)", Self.meta, Self.reply
            ).count == 1)
        let lazy = Self.meta.replacing("pwrite64(5<", with: "pwrite64(4<")
        #expect(faults(Self.open, Self.pages, Self.sync, lazy, Self.reply).count == 1)
    }

    @Test func `a call that two lines tell of counts from its first to its second`() {
        let begun = "11 fdatasync(4</d/log/data.mdb> <unfinished ...>"
        let ended = "11 <... fdatasync resumed>)            = 0"
        #expect(
            faults(Self.open, Self.pages, begun, "13 write(2</e>, \"x\", 1) = 1", ended, Self.meta, Self.reply) == [])
        #expect(faults(Self.open, Self.pages, begun, Self.meta, ended, Self.reply).count == 1)
        #expect(faults(Self.open, Self.pages, begun, Self.reply, ended, Self.meta).count == 1)
    }
}
