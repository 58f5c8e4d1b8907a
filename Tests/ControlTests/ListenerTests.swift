import Foundation
import Testing

@testable import Control

@Suite struct ListenerTests {
    @Test func `the socket file has its mode, no other file stays, and it goes with the listener`() throws {
        let server = try TestServer(mode: 0o600)
        var status = stat()
        #expect(lstat(server.path, &status) == 0)
        #expect(status.st_mode & 0o777 == 0o600)
        #expect(try FileManager.default.contentsOfDirectory(atPath: server.directory) == ["s"])
        server.listener.stop(within: .seconds(1))
        #expect(lstat(server.path, &status) != 0)
    }

    @Test func `a live socket is not taken, and goes on serving`() throws {
        let server = try TestServer()
        #expect(kind { try Listener.start(path: server.path) { TestService($0, .init()) } } == .inUse)
        #expect(try server.connect().ask(request(1, .append)) == result(1))
    }

    @Test func `the file of a daemon that was killed is replaced`() throws {
        let directory = temporaryDirectory()
        defer { rmdir(directory) }
        let old = try SocketFile(path: directory + "/s", mode: 0o600)
        close(old.descriptor)
        let listener = try Listener.start(path: directory + "/s") { TestService($0, .init()) }
        #expect(try TestClient(directory + "/s").ask(request(1, .append)) == result(1))
        // The file is now another one: the first owner leaves it alone.
        old.remove()
        #expect(access(directory + "/s", F_OK) == 0)
        listener.stop(within: .seconds(1))
        listener.endEventLoops()
    }

    @Test func `a file that is no socket is left alone`() throws {
        let directory = temporaryDirectory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try Data("mine".utf8).write(to: URL(filePath: directory + "/s"))
        #expect(kind { try Listener.start(path: directory + "/s") { TestService($0, .init()) } } == .notOurs)
        #expect(try Data(contentsOf: URL(filePath: directory + "/s")) == Data("mine".utf8))
    }

    @Test func `a path that the kernel has no room for is refused, the longest is served`() throws {
        let directory = temporaryDirectory()
        defer { rmdir(directory) }
        let longest = directory + "/" + String(repeating: "s", count: 107 - directory.utf8.count - 1)
        #expect(kind { try Listener.start(path: longest + "s") { TestService($0, .init()) } } == .pathTooLong)
        let listener = try Listener.start(path: longest) { TestService($0, .init()) }
        #expect(try TestClient(longest).ask(request(1, .append)) == result(1))
        listener.stop(within: .seconds(1))
        listener.endEventLoops()
    }

    @Test func `a directory that everybody may change is refused`() throws {
        let directory = temporaryDirectory()
        defer { rmdir(directory) }
        chmod(directory, 0o777)
        #expect(kind { try Listener.start(path: directory + "/s") { TestService($0, .init()) } } == .openDirectory)
    }

    @Test func `a service that cannot start leaves nothing behind`() throws {
        struct Unwell: Error {}
        let directory = temporaryDirectory()
        #expect(throws: Unwell.self) { try Listener.start(path: directory + "/s") { _ in throw Unwell() } }
        #expect(rmdir(directory) == 0)
    }

    @Test func `a directory that is not there is a system error with its operation`() {
        let error = kind { try Listener.start(path: "/tmp/no/such/s") { TestService($0, .init()) } }
        #expect(error == .system(operation: "bind", code: ENOENT))
    }

    private func kind(_ body: () throws -> Listener) -> ListenerError.Kind? {
        do { _ = try body() } catch { return (error as? ListenerError)?.kind }
        return nil
    }

    // MARK: Who is served

    @Test func `connections over the limit are told that it is busy, and room is given back`() throws {
        let server = try TestServer()
        var clients: [TestClient] = []
        for _ in 0..<240 { clients.append(try server.connect()) }
        for (id, client) in clients.enumerated() { #expect(try client.ask(request(id, .append)) == result(id)) }
        for _ in 0..<60 {
            let late = try server.connect()
            try? late.send(request(1, .append) + "\n")
            let lines = try late.lines()
            #expect(lines.count == 1)
            #expect(error(lines.first) == "null busy")
            #expect(lines.first?.contains(#""retry_after_ms":200"#) == true)
        }
        // Those within the limit noticed nothing.
        for (id, client) in clients.enumerated() { #expect(try client.ask(request(id, .append)) == result(id)) }
        clients.removeLast()
        #expect(eventually { server.listener.connectionCount == 239 })
        #expect(try server.connect().ask(request(1, .append)) == result(1))
    }

    @Test func `of any number of connections at once each is served or told why not`() throws {
        var limits = WireLimits()
        limits.connectionsMax = 10
        limits.connectionsPerUserMax = 8
        limits.refusalsMax = 3
        let server = try TestServer(limits: limits)
        let served = try (0..<8).map { _ in try server.connect() }
        for client in served { #expect(try client.ask(request(1, .append)) == result(1)) }
        // None of them goes before all were told: those beyond the three that are told at leisure are told as well.
        let late = try (0..<100).map { _ in try server.connect() }
        for client in late {
            let line = try client.line()
            #expect(
                error(line) == "null busy" && line?.contains(#""retry_after_ms":200"#) == true, "\(line ?? "nothing")")
        }
        #expect(server.listener.connectionCount == 8)
        for client in served { #expect(try client.ask(request(2, .append)) == result(2)) }
    }

    @Test(
        .enabled(
            if: geteuid() == 0 && access("/usr/bin/setpriv", X_OK) == 0 && access("/usr/bin/python3", X_OK) == 0,
            "needs root, setpriv and python3"))
    func `another user is told that it is not allowed`() throws {
        let server = try TestServer(mode: 0o666)
        chmod(server.directory, 0o755)
        let python = Process()
        python.executableURL = URL(filePath: "/usr/bin/setpriv")
        python.arguments = [
            "--reuid=4242", "--regid=4242", "--clear-groups", "/usr/bin/python3", "-c",
            "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); print(s.makefile().read(), end='')",
            server.path,
        ]
        let output = Pipe()
        python.standardOutput = output
        try python.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        python.waitUntilExit()
        #expect(error(text) == "null not_allowed")
        #expect(server.watch.closed.value == 0, "the service never saw it")
        #expect(try server.connect().ask(request(1, .append)) == result(1))
    }

    // MARK: The end

    @Test func `stopping gives the replies that are owed, then ends every connection`() throws {
        let server = try TestServer()
        let busy = try server.connect()
        let idle = try server.connect()
        try busy.send(request(1, .append) + "\n" + request(2, .projectionRebuild) + "\n")
        #expect(try busy.line() == result(1))
        #expect(try idle.ask(request(1, .append)) == result(1))
        server.listener.stop(within: .seconds(5))
        #expect(try busy.lines() == [result(2, #""rested""#)])
        #expect(try idle.lines() == [])
        #expect(throws: TestClient.Failure.self) { try server.connect() }
        #expect(server.watch.closed.value == 2)
    }

    @Test func `stopping does not wait longer than it is told`() throws {
        let server = try TestServer()
        let client = try server.connect()
        try client.send(request(1, .leadGet) + "\n")
        #expect(eventually { server.watch.received.value == 1 })
        let start = ContinuousClock.now
        server.listener.stop(within: .milliseconds(100))
        #expect(ContinuousClock.now - start < .seconds(5))
        #expect(try client.lines() == [])
    }
}
