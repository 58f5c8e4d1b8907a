import JSON
import Logging
import NIOCore
import NIOEmbedded

@testable import Control

/// Whatever arrives, in whatever pieces: a reply a line, in order, the same ones for any pieces; a line over the limit is the
/// last that is answered.
///
/// The first byte says how long the pieces are; the rest is what is sent.
enum LinesTarget {
    private static let frameBytesMax = 300

    static func run(_ bytes: UnsafeRawBufferPointer) {
        guard let size = bytes.first else { return }
        let sent = UnsafeRawBufferPointer(rebasing: bytes.dropFirst())
        let whole = replies(to: sent, pieces: max(1, sent.count))
        let pieces = replies(to: sent, pieces: 1 + Int(size))
        promise(whole == pieces, "in pieces of \(1 + Int(size)) it is answered otherwise")
        promise(whole.count == due(sent), "\(due(sent)) replies are due, \(whole.count) came")
        for reply in whole {
            var parser = JSONParser()
            let root: JSONValue
            do throws(JSONError) { root = try parser.parse(reply) } catch { fatalError("a reply is no JSON: \(error)") }
            promise(root["jsonrpc"]?.equals("2.0" as StaticString) == true && root["id"] != nil, "no JSON-RPC")
            promise((root["result"] == nil) != (root["error"] == nil), "neither result nor error, or both")
            promise(
                root["error"]?["data"]?["name"]?.equals("internal_error" as StaticString) != true, "our bug")
        }
    }

    /// Lines that are answered: all whole ones that are not blank, up to the first that is too long.
    private static func due(_ sent: UnsafeRawBufferPointer) -> Int {
        var count = 0
        var length = 0
        var isBlank = true
        for byte in sent {
            if byte == UInt8(ascii: "\n") {
                if !isBlank { count += 1 }
                (length, isBlank) = (0, true)
                continue
            }
            length += 1
            // Of a blank line too, since nobody waits to see whether it ends.
            if length > frameBytesMax { return count + 1 }
            if ![0x20, 0x09, 0x0D].contains(byte) { isBlank = false }
        }
        return count
    }

    private static func replies(to sent: UnsafeRawBufferPointer, pieces size: Int) -> [[UInt8]] {
        let channel = EmbeddedChannel()
        var limits = WireLimits()
        limits.frameBytesMax = frameBytesMax
        let loop: WireLoop
        do {
            loop = try WireLoop(
                eventLoop: channel.eventLoop, limits: limits,
                logger: Logger(label: "fuzz", factory: { _ in SwiftLogNoOpLogHandler() })
            ) { _ in EchoService() }
            let connection = Connection(channel: channel, peer: Peer(uid: 0, gid: 0, pid: 1), loop: loop)
            let handler = ConnectionHandler(connection) { loop.remove(connection) }
            try channel.pipeline.syncOperations.addHandler(handler)
            loop.add(connection)
            try channel.connect(to: SocketAddress(unixDomainSocketPath: "/fuzz")).wait()
            var start = 0
            while start < sent.count, channel.isActive {
                let end = min(sent.count, start + size)
                var buffer = channel.allocator.buffer(capacity: end - start)
                buffer.writeBytes(sent[start..<end])
                try channel.writeInbound(buffer)
                channel.embeddedEventLoop.run()
                start = end
            }
            channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
            channel.embeddedEventLoop.run()
            var output: [UInt8] = []
            while let written = try channel.readOutbound(as: ByteBuffer.self) { output += written.readableBytesView }
            loop.end()
            _ = try? channel.finish(acceptAlreadyClosed: true)
            promise(output.isEmpty || output.last == UInt8(ascii: "\n"), "a reply without its newline")
            return output.split(separator: UInt8(ascii: "\n")).map { [UInt8]($0) }
        } catch { fatalError("the channel of a connection failed: \(error)") }
    }

    /// Answers with what it was asked.
    private final class EchoService: RequestService {
        func receive(_ request: Request, reply: ReplySlot) {
            reply.succeed { writer in
                if let params = request.params { writer.raw(params.raw) } else { writer.null() }
            }
        }
        func batchEnded(isAlone: Bool) {}
        func giveAnswers() -> Bool { false }
        func connectionClosed(_ connection: Connection) {}
    }
}
