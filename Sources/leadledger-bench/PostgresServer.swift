import Glibc

/// A PostgreSQL of our own that does a ledger's work: unique names, a version for each lead, positions without gaps, one
/// transaction an event, and an acknowledgement after its sync.
///
/// Root may not run it: as root we become the user `postgres`.
struct PostgresServer {
    /// What one event costs at least, in one round trip. The lead's row is locked first and the head last, so that the one lock
    /// that all share is held for the shortest time; it has to be held until the commit, or positions would have gaps.
    private static let schema = """
        CREATE TABLE head (position bigint NOT NULL) WITH (fillfactor = 10);
        INSERT INTO head VALUES (-1);
        CREATE TABLE leads (lead text PRIMARY KEY, version bigint NOT NULL) WITH (fillfactor = 70);
        CREATE TABLE events (
            position bigint PRIMARY KEY, lead text NOT NULL, version bigint NOT NULL, source text NOT NULL, id text NOT NULL,
            recorded timestamptz NOT NULL, event json NOT NULL, UNIQUE (lead, source, id));
        CREATE FUNCTION append(a_lead text, a_source text, a_id text, a_expected bigint, a_event json) RETURNS bigint
        LANGUAGE plpgsql AS $$
        DECLARE
            found_version bigint;
            found_position bigint;
        BEGIN
            INSERT INTO leads AS l VALUES (a_lead, 1)
                ON CONFLICT (lead) DO UPDATE SET version = l.version + 1 RETURNING l.version INTO found_version;
            IF found_version <> a_expected + 1 THEN
                RAISE EXCEPTION 'version_conflict: % is at version %', a_lead, found_version - 1;
            END IF;
            UPDATE head SET position = position + 1 RETURNING position INTO found_position;
            INSERT INTO events VALUES (
                found_position, a_lead, found_version, a_source, a_id, clock_timestamp(), a_event);
            RETURN found_position;
        END $$;
        """

    /// pgbench's script. The event's text is a variable, so that its bytes cross the socket with every call. As in the load
    /// of the others no version is expected.
    private static let script = #"""
        \set lead random(0, :leads - 1)
        \set number :number + 1
        SELECT append('lead-p-' || :lead::text, :source::text, 'p-' || :client_id::text || '-' || :number::text, NULL, :event::json);
        """#

    private static let binaries = "/usr/lib/postgresql/15/bin/"

    let process: DaemonProcess
    private let directory: String

    /// Makes a cluster in `directory`/postgres and starts it. As root, `postgres` has to get there too.
    static func start(in directory: String) throws(BenchError) -> PostgresServer {
        let home = directory + "/postgres"
        guard mkdir(home, 0o700) == 0 else { throw .system("make \(home)") }
        var asUser: [String] = PeerProgram.diesWithUs
        if getuid() == 0 {
            guard let user = getpwnam("postgres") else { throw BenchError("there is no user postgres") }
            guard chown(home, user.pointee.pw_uid, user.pointee.pw_gid) == 0 else {
                throw .system("give \(home) to postgres")
            }
            // In this order: a change of user clears the signal.
            asUser = ["/usr/bin/setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
            asUser += ["--pdeathsig", "KILL"]
        }
        let data = home + "/data"
        let initialize = [binaries + "initdb", "-D", data, "-U", "bench", "-A", "trust", "-E", "UTF8", "--locale=C"]
        _ = try PeerProgram.run(asUser + initialize, in: directory)

        // Durable in full; for the rest more generous than the defaults: no replication, no checkpoint within a run.
        let settings = [
            "listen_addresses=", "unix_socket_directories=\(home)", "fsync=on", "synchronous_commit=on",
            "full_page_writes=on", "wal_level=minimal", "max_wal_senders=0", "shared_buffers=512MB", "max_wal_size=8GB",
            "checkpoint_timeout=1h", "max_connections=100",
        ]
        let words = asUser + [binaries + "postgres", "-D", data] + settings.flatMap { ["-c", $0] }
        let process = try DaemonProcess.spawn(
            "PostgreSQL", words, socketPath: home + "/.s.PGSQL.5432", logPath: directory + "/postgres.log")
        let server = PostgresServer(process: process, directory: directory)
        do throws(BenchError) {
            try server.waitUntilReady()
            _ = try server.query(schema)
            for name in ["fsync", "synchronous_commit", "full_page_writes"] {
                guard try server.query("SHOW \(name)") == "on" else {
                    throw BenchError("PostgreSQL has not \(name)=on")
                }
            }
        } catch {
            process.end()
            throw error
        }
        return server
    }

    func end() { process.end() }

    /// As root the children of the server are of another user, and end with it.
    func stop() throws(BenchError) { try process.stop() }

    /// Runs `connections` clients that append one event at a time, and checks that all are there and positions have no gaps.
    func append(events: Int, connections: Int, leads: Int, seed: UInt64) throws(BenchError) -> LoadResult {
        let each = max(1, events / connections)
        let scriptPath = directory + "/append.sql"
        try writeText(Self.script + "\n", to: scriptPath)
        let logs = directory + "/pgbench"
        guard mkdir(logs, 0o700) == 0 || errno == EEXIST else { throw .system("make \(logs)") }
        let templates = EventTemplates(tag: "p")
        let template = templates.all[0]
        let event = String(decoding: template.line[template.event], as: UTF8.self)
        let text = try PeerProgram.run(
            [
                try PeerProgram.find("pgbench", [Self.binaries + "pgbench"]), "-h", directory + "/postgres", "-U",
                "bench",
                "-n", "-M", "prepared", "-c", "\(connections)", "-j", "1", "-t", "\(each)",
                "--random-seed=\(seed % 1_000_000)", "-f", scriptPath, "-D", "leads=\(leads)", "-D", "number=0",
                "-D", "source=urn:bench:web", "-D", "event=\(event)", "-l", "--log-prefix=\(logs)/run", "postgres",
            ], in: directory)
        let report = try PgbenchReport(text)
        guard report.transactions == each * connections, report.failed == 0 else {
            throw BenchError("pgbench: \(report.transactions) of \(each * connections) done, \(report.failed) failed")
        }
        let stored = try query(
            "SELECT count(*) || ' ' || max(position) + 1 || ' ' || (SELECT position + 1 FROM head) FROM events")
        guard stored == Array(repeating: "\(report.transactions)", count: 3).joined(separator: " ") else {
            throw BenchError("PostgreSQL: \(report.transactions) were acknowledged, and there are \(stored)")
        }
        var result = LoadResult(
            events: report.transactions,
            nanoseconds: UInt64(Double(report.transactions) / report.transactionsPerSecond * 1e9))
        for name in try names(in: logs) {
            try PgbenchReport.readLatencies(try readText("\(logs)/\(name)"), into: &result.latency)
            unlink("\(logs)/\(name)")
        }
        guard result.latency.count == UInt64(report.transactions) else {
            throw BenchError("pgbench logged \(result.latency.count) of \(report.transactions) transactions")
        }
        return result
    }

    /// What a statement gives, as text.
    private func query(_ text: String) throws(BenchError) -> String {
        let answer = try PeerProgram.run(
            [
                Self.binaries + "psql", "-h", directory + "/postgres", "-U", "bench", "-d", "postgres", "-X", "-q",
                "-A",
                "-t", "-v", "ON_ERROR_STOP=1", "-c", text,
            ], in: directory)
        return answer.split(separator: "\n").joined(separator: "\n")
    }

    /// It listens before it serves.
    private func waitUntilReady() throws(BenchError) {
        close(try process.connect())
        for _ in 0..<600 {
            do throws(BenchError) {
                _ = try query("SELECT 1")
                return
            } catch {
                try process.checkIsRunning()
                try pause(milliseconds: 100)
            }
        }
        throw BenchError("PostgreSQL does not serve after a minute")
    }
}

/// What pgbench prints at its end.
struct PgbenchReport: Equatable {
    var transactions: Int
    var failed: Int
    /// Without the time that connecting took.
    var transactionsPerSecond: Double

    init(_ text: String) throws(BenchError) {
        var transactions: Int?
        var failed = 0
        var rate: Double?
        for line in text.split(separator: "\n") {
            let words = line.split(whereSeparator: { " :=/".contains($0) })
            if line.hasPrefix("number of transactions actually processed:"), words.count > 5 {
                transactions = Int(words[5])
            } else if line.hasPrefix("number of failed transactions:"), words.count > 4 {
                guard let count = Int(words[4]) else { throw BenchError("pgbench: \(line)") }
                failed = count
            } else if line.hasPrefix("tps ="), words.count > 1 {
                rate = Double(words[1])
            }
        }
        guard let transactions, let rate, rate > 0 else { throw BenchError("pgbench said: \(text.suffix(1_000))") }
        self.transactions = transactions
        self.failed = failed
        transactionsPerSecond = rate
    }

    /// Takes in a transaction log: a line `client number microseconds script seconds microseconds` for each.
    static func readLatencies(_ text: String, into histogram: inout LatencyHistogram) throws(BenchError) {
        for line in text.utf8.split(separator: 0x0A) {
            let words = line.split(separator: 0x20)
            guard words.count >= 6, let microseconds = UInt64(Substring(words[2])) else {
                throw BenchError("pgbench logged: \(Substring(line))")
            }
            histogram.record(nanoseconds: microseconds * 1_000)
        }
    }
}
