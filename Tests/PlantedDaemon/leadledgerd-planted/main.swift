import CNoSync
import Glibc
import LeadLedger
import Logging

// leadledgerd-planted: the daemon as it is, but for a log that does not sync, or with --early one whose answers come before their
// commits (see CNoSync.c). The durability tests and the kill storm must catch it; with a daemon that merely looks durable they
// would otherwise prove nothing.
//
// usage: leadledgerd-planted --data DIR --socket PATH [--early]

func end(_ code: Int32, _ text: String) -> Never {
    write(STDERR_FILENO, text, text.utf8.count)
    exit(code)
}

let arguments = CommandLine.arguments
let isEarly = arguments.last == "--early"
guard arguments.count == (isEarly ? 6 : 5), arguments[1] == "--data", arguments[3] == "--socket" else {
    end(64, "usage: leadledgerd-planted --data DIR --socket PATH [--early]\n")
}
if isEarly { planted_answer_early() }
var signals = sigset_t()
sigemptyset(&signals)
sigaddset(&signals, SIGTERM)
pthread_sigmask(SIG_BLOCK, &signals, nil)
signal(SIGPIPE, SIG_IGN)

let daemon = try Daemon.start(
    Configuration(dataDirectory: arguments[2], socketPath: arguments[4]),
    logger: Logger(label: "leadledgerd-planted") { StreamLogHandler.standardError(label: $0) })
guard planted_openings() > 0 else { end(70, "leadledgerd-planted: the fault is not in place\n") }
var taken: Int32 = 0
while sigwait(&signals, &taken) != 0 {}
exit(daemon.stop())
