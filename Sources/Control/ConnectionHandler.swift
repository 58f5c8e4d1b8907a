import NIOCore

/// The channel's side of a `Connection`: hands it what arrives, and does to the channel what it says.
///
/// Synchronous and alone in its pipeline, since that is the fastest way through NIO (a line takes 0.4 us this way).
final class ConnectionHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = Never
    typealias OutboundOut = ByteBuffer

    private let connection: Connection
    private let onRemoved: () -> Void
    private var context: ChannelHandlerContext?

    init(_ connection: Connection, onRemoved: @escaping () -> Void) {
        self.connection = connection
        self.onRemoved = onRemoved
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        connection.attach(self)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        connection.closed()
        onRemoved()
    }

    // MARK: From the channel

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { connection.received(unwrapInboundIn(data)) }

    /// The channel wants to read: withheld while the connection is paused, which takes it out of the selector.
    func read(context: ChannelHandlerContext) {
        if connection.mayRead() { context.read() }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) { connection.writabilityChanged() }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed = event { connection.receivedEnd() }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    func channelActive(context: ChannelHandlerContext) { connection.opened() }

    func channelInactive(context: ChannelHandlerContext) { connection.closed() }

    // MARK: From the connection

    func write(_ output: ByteBuffer) { context?.writeAndFlush(wrapOutboundOut(output), promise: nil) }

    /// Calls `body` when all that was written has gone to the operating system. Not called if the channel closes first.
    func afterWriting(_ body: @escaping () -> Void) {
        guard let context else { return }
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenSuccess(body)
        context.writeAndFlush(wrapOutboundOut(ByteBuffer()), promise: written)
    }

    func read() { context?.read() }

    func shutDownOutput() { context?.close(mode: .output, promise: nil) }

    func close() { context?.close(promise: nil) }

    /// Bytes that the channel has and the operating system has not.
    var bufferedBytes: Int {
        guard let options = context?.channel.syncOptions else { return 0 }
        return (try? options.getOption(.bufferedWritableBytes)) ?? 0
    }
}
