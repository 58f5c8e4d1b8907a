import Glibc

/// Programs of the peers: where they are, and how one is run to its end.
enum PeerProgram {
    /// Put before a peer's program: it ends with this process, however that ends.
    static let diesWithUs = ["/usr/bin/setpriv", "--pdeathsig", "KILL"]

    /// The first of `candidates` that can be run, or what is called `name` on the PATH.
    static func find(_ name: String, _ candidates: [String] = []) throws(BenchError) -> String {
        let path = getenv("PATH").map { String(cString: $0) } ?? ""
        let all = candidates + path.split(separator: ":").map { "\($0)/\(name)" }
        guard let found = all.first(where: { access($0, X_OK) == 0 }) else {
            throw BenchError("\(name) is not installed; scripts/bench installs what the comparison needs")
        }
        return found
    }

    /// Runs a program to its end, and returns what it printed. Its files are made in `directory`.
    /// - Throws: `BenchError` with what it said on stderr, when its exit code is not 0.
    static func run(_ words: [String], in directory: String) throws(BenchError) -> String {
        let output = directory + "/output.txt"
        let errors = directory + "/errors.txt"
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        let flags = O_WRONLY | O_CREAT | O_TRUNC
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, output, flags, 0o600)
        posix_spawn_file_actions_addopen(&actions, 2, errors, flags, 0o600)
        let all = diesWithUs + words
        let arguments: [UnsafeMutablePointer<CChar>?] = all.map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var pid: pid_t = 0
        let code = posix_spawn(&pid, all[0], &actions, nil, arguments, environ)
        guard code == 0 else { throw BenchError("cannot start \(all[0]): \(String(cString: strerror(code)))") }
        var status: Int32 = 0
        while waitpid(pid, &status, 0) != pid {
            // EINTR: somebody may want us to end, and then the child has to.
            do throws(BenchError) { try Interruption.check() } catch {
                kill(pid, SIGKILL)
                waitpid(pid, &status, 0)
                throw error
            }
        }
        guard status == 0 else {
            let said = ((try? readText(errors)) ?? "") + ((try? readText(output)) ?? "")
            throw BenchError(
                "\(words.joined(separator: " ").prefix(200)) ended with status \(status): \(said.suffix(1_000))")
        }
        return try readText(output)
    }
}
