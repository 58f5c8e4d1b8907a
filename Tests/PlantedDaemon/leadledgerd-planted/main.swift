import CNoSync
import Glibc
import LeadLedger
import Logging

// leadledgerd-planted: the daemon as it is, but for a log that does not sync (see CNoSync.c). The durability tests must
// catch it; with a daemon that merely looks durable they would otherwise prove nothing.
//
// usage: leadledgerd-planted --data DIR --socket PATH

guard CommandLine.arguments.count >= 5, CommandLine.arguments[1] == "--data", CommandLine.arguments[3] == "--socket"
else {
    fputs("usage: leadledgerd-planted --data DIR --socket PATH\n", stderr)
    exit(64)
}
var signals = sigset_t()
sigemptyset(&signals)
sigaddset(&signals, SIGTERM)
pthread_sigmask(SIG_BLOCK, &signals, nil)
signal(SIGPIPE, SIG_IGN)

let daemon = try Daemon.start(
    Configuration(dataDirectory: CommandLine.arguments[2], socketPath: CommandLine.arguments[4]),
    logger: Logger(label: "leadledgerd-planted") { StreamLogHandler.standardError(label: $0) })
guard planted_nosync_openings() > 0 else {
    fputs("leadledgerd-planted: the fault is not in place\n", stderr)
    exit(70)
}
var taken: Int32 = 0
while sigwait(&signals, &taken) != 0 {}
exit(daemon.stop())
