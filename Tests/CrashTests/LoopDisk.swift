import Glibc
import TestSupport

/// An ext4 on a loop device, in an image file whose copy is what a disk holds at that moment.
///
/// It is unmounted, and its file removed, with its last reference.
final class LoopDisk {
    /// Mounting needs root, CAP_SYS_ADMIN and loop devices; a mount of an image that is empty tells by its error. Nil: it is
    /// possible.
    static let obstacle: String? = {
        guard geteuid() == 0 else { return "mounting needs root" }
        guard access("/dev/loop-control", R_OK | W_OK) == 0 else { return "there is no /dev/loop-control" }
        guard (try? LoopDisk(megabytes: 16)) != nil else { return "mkfs.ext4 or a loop mount fails here" }
        return nil
    }()

    private let directory = TemporaryDirectory(below: "/dev/shm")
    private var image: String { directory.path + "/image" }
    /// Where it is mounted.
    var path: String { directory.path + "/disk" }

    /// An empty one.
    init(megabytes: Int) throws {
        try command("truncate", ["-s", "\(megabytes)M", image])
        try command("mkfs.ext4", ["-q", "-F", "-m", "0", image])
        try mount()
    }

    /// What `other` holds at this moment, as after a power cut: what its file system had not written is not in it.
    init(cutting other: LoopDisk) throws {
        // A copy during which something was written is of no moment.
        var copies = 0
        repeat {
            guard copies < 50 else { throw TimedOut("a moment in which the disk is still") }
            copies += 1
            try command("cp", ["--sparse=always", other.image, image])
        } while try run("cmp", ["-s", other.image, image], scratch: directory.path).status != .exited(0)
        try mount()
    }

    private func mount() throws {
        guard mkdir(path, 0o700) == 0 else { throw SystemFailure("mkdir \(path)") }
        try command("mount", ["-o", "loop", image, path])
        guard chmod(path, 0o700) == 0 else { throw SystemFailure("chmod \(path)") }
    }

    deinit { umount2(path, Int32(MNT_DETACH)) }

    private func command(_ program: String, _ arguments: [String]) throws {
        let result = try run(program, arguments, scratch: directory.path)
        guard result.status == .exited(0) else {
            throw SystemFailure("\(program) \(arguments): \(result.errorOutput)", code: 0)
        }
    }
}
