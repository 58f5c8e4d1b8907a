import JSON
import NIOCore

/// Says to one connection why it is not served, and closes it. Nothing is read, and nothing is kept of it: this is for the
/// moment in which more knock than can be told at leisure (see `WireLimits.refusalsMax`).
///
/// A Unix socket keeps what was written to it until its other end has read it, closed or not, so the client finds the reply
/// whenever it looks.
final class TurnAwayHandler: ChannelInboundHandler {
    typealias InboundIn = Never
    typealias OutboundOut = ByteBuffer

    private let refusal: ErrorReply

    init(_ refusal: ErrorReply) { self.refusal = refusal }

    func channelActive(context: ChannelHandlerContext) {
        var writer = JSONWriter(reserving: 512)
        writer.beginObject()
        writer.key("jsonrpc" as StaticString)
        writer.raw("\"2.0\"" as StaticString)
        writer.key("id" as StaticString)
        writer.null()
        refusal.write(to: &writer)
        writer.endObject()
        writer.bytes.append(UInt8(ascii: "\n"))
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: writer.bytes)), promise: nil)
        context.close(promise: nil)
    }

    /// What arrives meanwhile is nobody's.
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {}

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
