import DequeModule
package import JSON
import Logging
package import NIOCore

// Connection: one client. Lines in, replies out in the order of the lines, notifications between them.
//
//             take lines          receive            complete            end of the turn
//   channel ------------> Request --------> service --------> output ------------------> channel
//      ^        |                                  (held while an earlier
//      |        | paused: the rest waits in          request has no reply)
//      |        v `unread`, and nothing is read
//      +--- end of the turn: taken up again
//
// What must hold:
//   N1  every request has one entry in `waiting`, in the order of the lines; an entry leaves when it and all before it
//       are answered, so replies leave in the order of the requests;
//   N2  a notification leaves after every reply that was given before it;
//   N3  lines are taken only while `pauses` is empty and the phase is `open`; what was read beyond that is in `unread`;
//   N4  what is kept for a client is bounded: `unread` by a frame and a few reads, replies by the high-water mark, one
//       answer, and what requests in flight still answer; and what the service keeps of requests that wait, by `keptBytes`;
//   N5  after `closed` nothing is read, written or handed to the service.

/// One client's connection, for the service: who it is, pausing, and notifications.
///
/// Everything here is called on `eventLoop` and nowhere else. References may be kept and sent across threads; that is how
/// a reply finds its way back.
package final class Connection: @unchecked Sendable {
    // Sendable: mutable state is touched on the event loop only, which debug builds check; the rest is constant.

    package let peer: Peer
    let loop: WireLoop
    /// For the service's own state of this connection, such as its subscriptions.
    package var serviceState: AnyObject?
    /// For the service as well: appends of this client that it has handed to the log, and those whose outcome it knows. Plain
    /// numbers, since they are counted for each append.
    package private(set) var appendsSubmitted: UInt64 = 0
    package private(set) var appendsSettled: UInt64 = 0
    /// Called at the end of a turn in which the output fell below its low-water mark after `isWritable` was false.
    package var onWritable: (() -> Void)?
    /// Called at the end of each turn in which the connection was touched, while it takes answers.
    package var onTurnEnded: (() -> Void)?
    /// A subscriber may be silent for as long as it likes, and stays when it has shut down its own direction.
    package var isSubscriber = false {
        didSet { if !isSubscriber { markTouched() } }
    }
    package var eventLoop: any EventLoop { loop.eventLoop }

    enum Phase {
        case open
        /// No line is taken any more; what is owed is still answered.
        case refusing
        /// All is answered and handed to the channel; waiting until it is written.
        case finishing
        /// Our direction is shut; the client's bytes are thrown away until it is done.
        case lingering
        case closed
    }

    /// Why no lines are taken for now.
    struct Pauses: OptionSet {
        var rawValue: UInt8
        static let service = Pauses(rawValue: 1)
        static let output = Pauses(rawValue: 2)
        static let requests = Pauses(rawValue: 4)
    }

    private(set) var phase = Phase.open
    /// Whether the channel is connected: before that nothing can be written.
    private var isOpened = false
    private var pauses: Pauses = []
    private let limits: WireLimits
    private let refusal: ErrorReply?
    private let channel: any Channel
    private weak var handler: ConnectionHandler?

    // In.
    /// The begun line, and while paused all that was read behind it.
    private var unread = ByteBuffer()
    /// Whether `unread` may hold whole lines: it got them while paused, and they are taken at the end of a turn.
    private var unreadHasLines = false
    private var inputEnded = false
    private var readWithheld = false
    private var lingeredBytes = 0

    // Out.
    /// Nothing but bytes: a client that sends many requests at once has one for each.
    private struct Waiting {
        var id: ShortID
        /// Its id is in `longIDs`.
        var hasLongID = false
        /// Its reply is in `held`.
        var isAnswered = false
        /// About what the service keeps of it until it is answered.
        var keptBytes: Int32 = 0
    }
    private var waiting = Deque<Waiting>()
    /// What few requests have, by sequence number: ids that are no short ones, and replies, with the notifications that were given
    /// after them, that are kept until it is their turn.
    private var longIDs: [UInt64: [UInt8]] = [:]
    private var held: [UInt64: [UInt8]] = [:]
    /// Of all that are in `waiting`.
    private var keptBytes = 0
    /// The sequence number of `waiting.first`.
    private var firstWaiting: UInt64 = 0
    /// The last request that is answered although one before it is not.
    private var lastHeld: UInt64?
    private var heldBytes = 0
    private var output = ByteBuffer()
    private var handedOverBytes = 0
    private var wasFull = false
    private var isTouched = false

    // Watched by the loop's `tick`.
    private var lineBegunAt: NIODeadline?
    private var takenBytes = 0
    private var progressAt: NIODeadline
    private var activeAt: NIODeadline
    private var lingeringSince: NIODeadline?
    /// Where the loop keeps this connection.
    var placeInLoop = 0

    /// - Parameter refusal: why this client is not served at all: it is told so, and the service never sees it.
    init(channel: any Channel, peer: Peer, loop: WireLoop, refusal: ErrorReply? = nil) {
        self.channel = channel
        self.peer = peer
        self.loop = loop
        self.refusal = refusal
        limits = loop.limits
        progressAt = loop.now
        activeAt = loop.now
    }

    // MARK: For the service

    package func countAppendSubmitted() { appendsSubmitted += 1 }
    package func countAppendSettled() { appendsSettled += 1 }

    /// Takes no further lines of this client until `resumeReading`. Requests received before are answered as usual.
    package func pauseReading() {
        eventLoop.assertInEventLoop()
        pauses.insert(.service)
    }

    /// Takes lines again, from the end of this turn on.
    package func resumeReading() {
        eventLoop.assertInEventLoop()
        pauses.remove(.service)
        markTouched()
    }

    /// Whether more output is welcome: below the high-water mark, and not on the way back to the low one.
    package var isWritable: Bool {
        phase != .closed && !wasFull && channel.isWritable && pendingOutputBytes <= limits.outputHighBytes
    }

    /// Whether the client takes what it is answered: unlike `isWritable` this does not look at replies that are held for an earlier
    /// request, which may be the very one that waits to be worked on.
    package var takesAnswers: Bool {
        phase != .closed && channel.isWritable && output.readableBytes <= limits.outputHighBytes
    }

    /// Whether the answer to this request may be computed now: the client takes answers, and what is held for the oldest
    /// request without a reply is below the high-water mark, or this is that request. One that waits long, such as a
    /// rebuild, would otherwise have the answers of all that were sent behind it pile up here.
    package func takesAnswer(to reply: ReplySlot) -> Bool {
        takesAnswers && (heldBytes <= limits.outputHighBytes || reply.sequence == firstWaiting)
    }

    package var isClosed: Bool { phase == .closed }

    /// Requests that have no reply yet.
    package var requestsInFlight: Int { waiting.count }

    /// Sends a notification: behind every reply given so far, before every later one.
    ///
    /// - Parameter params: a JSON object as text, without a newline in it.
    package func notify(_ method: StaticString, params: [UInt8]) {
        notify(method) { $0.raw(params) }
    }

    package func notify(_ method: StaticString, _ params: (inout JSONWriter) -> Void) {
        eventLoop.assertInEventLoop()
        guard phase != .closed else { return }
        loop.withWriter { writer in
            writer.beginObject()
            writer.key("jsonrpc" as StaticString)
            writer.raw("\"2.0\"" as StaticString)
            writer.key("method" as StaticString)
            method.withUTF8Buffer { writer.string(utf8: UnsafeRawBufferPointer($0)) }
            writer.key("params" as StaticString)
            params(&writer)
            writer.endObject()
            writer.bytes.append(UInt8(ascii: "\n"))
            if let lastHeld {
                held[lastHeld, default: []] += writer.bytes
                heldBytes += writer.bytes.count
            } else {
                output.writeBytes(writer.bytes)
            }
        }
        if pendingOutputBytes > limits.outputHighBytes { wasFull = true }
        markTouched()
    }

    /// Sends notifications that are whole lines already, each with its newline. They are not copied where nothing waits
    /// before them, and leave at once: they are large, so that there is no more to be saved by waiting for the turn's end.
    package func notify(lines: ByteBuffer) {
        eventLoop.assertInEventLoop()
        guard phase != .closed, lines.readableBytes > 0 else { return }
        if let lastHeld {
            held[lastHeld, default: []] += lines.readableBytesView
            heldBytes += lines.readableBytes
        } else {
            // Replies given before them go first (N2).
            flush()
            if output.readableBytes == 0, channel.isWritable, phase == .open {
                handOver(lines)
                lookAtRoom()
            } else {
                output.writeImmutableBuffer(lines)
            }
        }
        if pendingOutputBytes > limits.outputHighBytes { wasFull = true }
        markTouched()
    }

    /// Answers what is owed and closes; takes no further lines.
    package func close() {
        eventLoop.assertInEventLoop()
        stopTaking()
    }

    // MARK: Lines

    /// Takes what was read.
    func received(_ incoming: ByteBuffer) {
        take(incoming)
        loop.readEnded()
    }

    private func take(_ incoming: ByteBuffer) {
        activeAt = loop.now
        switch phase {
        case .open: break
        case .lingering:
            lingeredBytes += incoming.readableBytes
            if lingeredBytes > limits.lingerBytesMax { handler?.close() }
            return
        case .refusing, .finishing, .closed: return
        }
        var incoming = incoming
        if unread.readableBytes > 0, pauses.isEmpty, !unreadHasLines, let end = incoming.lengthOfLine(),
            var begun = incoming.readSlice(length: end + 1)
        {
            // The begun line ends here: it alone is put together, the rest is taken where it lies.
            unread.writeBuffer(&begun)
            takeUnread()
        }
        if unread.readableBytes == 0, pauses.isEmpty { takeLines(from: &incoming) }
        guard phase == .open else { return }
        if incoming.readableBytes > 0 {
            unread.writeBuffer(&incoming)
            if !pauses.isEmpty { unreadHasLines = true }
        }
        lookAtBegunLine()
    }

    /// The client has shut down its direction: what it sent is still answered, a half line is not a request.
    func receivedEnd() {
        inputEnded = true
        markTouched()
    }

    private func takeUnread() {
        var buffer = unread
        unread = ByteBuffer()
        takeLines(from: &buffer)
        guard phase == .open else { return }
        unreadHasLines = !pauses.isEmpty
        if buffer.readableBytes == 0 {
            // Its memory is used again, unless it grew far beyond what usual lines take.
            buffer.clear()
            unread = buffer.capacity <= limits.readBytesMin * 4 ? buffer : ByteBuffer()
        } else {
            buffer.discardReadBytes()
            unread = buffer
        }
    }

    private func takeLines(from buffer: inout ByteBuffer) {
        let taken = buffer.withUnsafeReadableBytes { bytes in
            var start = 0
            while start < bytes.count, pauses.isEmpty, phase == .open {
                let rest = UnsafeRawBufferPointer(rebasing: bytes[start...])
                guard let length = rest.lengthOfLine() else { break }
                take(UnsafeRawBufferPointer(rebasing: rest[..<length]))
                start += length + 1
            }
            return start
        }
        buffer.moveReaderIndex(forwardBy: taken)
    }

    private func take(_ line: UnsafeRawBufferPointer) {
        lineBegunAt = nil
        guard line.count <= limits.frameBytesMax else { return refuse(tooLong) }
        if line.isBlank { return }
        let root: JSONValue
        do throws(JSONError) { root = try loop.parser.parse(line) } catch {
            let isDocument = error.kind == .duplicateMember
            let id =
                isDocument
                ? RequestEnvelope.id(scanning: line, idBytesMax: limits.idBytesMax) : RequestEnvelope.noID
            return enter(id).fail(ErrorReply(error))
        }
        var envelope = RequestEnvelope()
        let method: Method
        do throws(ErrorReply) { method = try envelope.read(root, idBytesMax: limits.idBytesMax) } catch {
            return enter(envelope.id).fail(error)
        }
        let reply = enter(envelope.id)
        loop.hasReceived = true
        markTouched()
        if !method.isBoundedByQueue { keep(WireLimits.keptBytes(ofLine: line.count), at: waiting.count - 1) }
        loop.service.receive(Request(method: method, params: envelope.params, connection: self), reply: reply)
    }

    private var tooLong: ErrorReply {
        ErrorReply(
            .frameTooLarge, "a line takes at most \(limits.frameBytesMax) bytes", at: .offset(limits.frameBytesMax))
    }

    /// Gives a request its place in the order.
    private func enter(_ id: UnsafeRawBufferPointer) -> ReplySlot {
        let sequence = firstWaiting + UInt64(waiting.count)
        if id.count <= ShortID.bytesMax {
            waiting.append(Waiting(id: ShortID(id)))
        } else {
            waiting.append(Waiting(id: ShortID(RequestEnvelope.noID), hasLongID: true))
            longIDs[sequence] = [UInt8](id)
        }
        if waiting.count >= limits.requestsInFlightMax { pauses.insert(.requests) }
        return ReplySlot(connection: self, sequence: sequence)
    }

    /// Counts what the service keeps of a request from now until it is answered.
    func keep(_ bytes: Int, for sequence: UInt64) {
        eventLoop.assertInEventLoop()
        guard phase != .closed else { return }
        keep(bytes, at: placeOfUnanswered(sequence))
    }

    private func keep(_ bytes: Int, at index: Int) {
        let before = waiting[index].keptBytes
        waiting[index].keptBytes = Int32(clamping: Int(before) + bytes)
        keptBytes += Int(waiting[index].keptBytes - before)
        if keptBytes >= limits.keptBytesMax { pauses.insert(.requests) }
    }

    /// Watches a line that has begun and not ended.
    private func lookAtBegunLine() {
        if phase == .open, !unreadHasLines, unread.readableBytes > 0 {
            if lineBegunAt == nil { lineBegunAt = loop.now }
            if unread.readableBytes > limits.frameBytesMax { refuse(tooLong) }
        } else {
            lineBegunAt = nil
        }
    }

    /// Answers with an error, behind all that is owed, and closes after it.
    private func refuse(_ error: ErrorReply) {
        enter(RequestEnvelope.noID).fail(error)
        stopTaking()
    }

    private func stopTaking() {
        guard phase == .open else { return }
        phase = .refusing
        unread = ByteBuffer()
        unreadHasLines = false
        lineBegunAt = nil
        markTouched()
    }

    /// Whether the channel may read on; where not, `readWithheld` remembers that it wanted to.
    func mayRead() -> Bool {
        let may = phase == .lingering || phase == .open && pauses.isEmpty
        if !may { readWithheld = true }
        return may
    }

    // MARK: Replies

    /// Writes the reply of a request: its members behind `id`.
    func complete(_ sequence: UInt64, _ members: (inout JSONWriter) -> Void) {
        eventLoop.assertInEventLoop()
        guard phase != .closed else { return }
        let index = placeOfUnanswered(sequence)
        loop.withWriter { writer in
            writer.beginObject()
            writer.key("jsonrpc" as StaticString)
            writer.raw("\"2.0\"" as StaticString)
            writer.key("id" as StaticString)
            withID(of: index) { writer.raw($0) }
            members(&writer)
            writer.endObject()
            writer.bytes.append(UInt8(ascii: "\n"))
            if index == 0 {
                output.writeBytes(writer.bytes)
            } else {
                hold(writer.bytes, at: index)
            }
        }
        if index == 0 { leave() }
        lookAtOutput()
    }

    /// Where a request that has no reply yet stands in `waiting`.
    private func placeOfUnanswered(_ sequence: UInt64) -> Int {
        let index = Int(sequence &- firstWaiting)
        precondition(
            sequence >= firstWaiting && index < waiting.count && !waiting[index].isAnswered,
            "a request is answered once")
        return index
    }

    /// Lends the `id` of a request, as it stood in the line.
    @inline(__always)
    private func withID(of index: Int, _ body: (UnsafeRawBufferPointer) -> Void) {
        if waiting[index].hasLongID, let id = longIDs[firstWaiting + UInt64(index)] {
            id.withUnsafeBytes(body)
        } else {
            waiting[index].id.withText(body)
        }
    }

    /// Keeps a reply until it is its turn (N1).
    private func hold(_ reply: [UInt8], at index: Int) {
        let sequence = firstWaiting + UInt64(index)
        held[sequence] = reply
        waiting[index].isAnswered = true
        heldBytes += reply.count
        lastHeld = max(lastHeld ?? 0, sequence)
    }

    private func lookAtOutput() {
        if pendingOutputBytes > limits.outputHighBytes {
            pauses.insert(.output)
            wasFull = true
        }
        markTouched()
    }

    /// As above for a short result whose size has a bound: it is written where it leaves from, without a step between.
    ///
    /// - Parameter bytesMax: of what `result` writes.
    func complete(_ sequence: UInt64, bytesMax: Int, result: (inout TextCursor) -> Void) {
        eventLoop.assertInEventLoop()
        guard phase != .closed else { return }
        let index = placeOfUnanswered(sequence)
        let room = bytesMax + limits.idBytesMax + 64
        func write(_ place: UnsafeMutableRawBufferPointer) -> Int {
            guard let start = place.baseAddress else { return 0 }
            var text = TextCursor(start)
            text.literal(#"{"jsonrpc":"2.0","id":"#)
            withID(of: index) { text.copy($0) }
            text.literal(#","result":"#)
            result(&text)
            text.literal("}\n")
            let count = start.distance(to: text.at)
            precondition(count <= room, "a result was longer than its bound")
            return count
        }
        if index == 0 {
            output.writeWithUnsafeMutableBytes(minimumWritableBytes: room, write)
            leave()
        } else {
            let reply = [UInt8](unsafeUninitializedCapacity: room) { place, count in
                count = write(UnsafeMutableRawBufferPointer(place))
            }
            hold(reply, at: index)
        }
        lookAtOutput()
    }

    /// The first request is answered: it leaves, and all behind it that were.
    private func leave() {
        removeFirst()
        while let next = waiting.first, next.isAnswered {
            if let reply = held.removeValue(forKey: firstWaiting) {
                output.writeBytes(reply)
                heldBytes -= reply.count
            }
            removeFirst()
        }
        if let last = lastHeld, last < firstWaiting { lastHeld = nil }
        if pauses.contains(.requests), waiting.count <= limits.requestsInFlightMax / 2,
            keptBytes <= limits.keptBytesMax / 2
        {
            pauses.remove(.requests)
        }
    }

    private func removeFirst() {
        let first = waiting.removeFirst()
        if first.hasLongID { longIDs[firstWaiting] = nil }
        keptBytes -= Int(first.keptBytes)
        firstWaiting += 1
    }

    private var pendingOutputBytes: Int { output.readableBytes + heldBytes }

    private func markTouched() {
        if !isTouched, phase != .closed {
            isTouched = true
            loop.touched(self)
        }
    }

    // MARK: The end of a turn

    /// Writes what was answered in this turn, then takes up lines that waited.
    func turnEnded() {
        isTouched = false
        guard phase != .closed else { return }
        flush()
        guard phase != .closed else { return }
        if wasFull, channel.isWritable, pendingOutputBytes <= limits.outputLowBytes {
            wasFull = false
            pauses.remove(.output)
            if phase == .open { onWritable?() }
        }
        if takesAnswers { onTurnEnded?() }
        if phase == .open, pauses.isEmpty {
            if unreadHasLines {
                takeUnread()
                lookAtBegunLine()
            }
            readOn()
        }
        finishIfDone()
    }

    /// Writes what was answered so far, in the middle of a turn.
    func flushEarly() {
        guard phase != .closed else { return }
        flush()
    }

    private func flush() {
        guard output.readableBytes > 0, phase != .lingering else { return }
        if channel.isWritable {
            handOver(output)
            // The channel has usually written it by now and let go of it; then its memory is used again.
            if output.capacity <= limits.outputLowBytes { output.clear() } else { output = ByteBuffer() }
        }
        lookAtRoom()
    }

    private func handOver(_ bytes: ByteBuffer) {
        handedOverBytes += bytes.readableBytes
        activeAt = loop.now
        handler?.write(bytes)
    }

    /// Takes no lines of a client that does not read.
    private func lookAtRoom() {
        if !channel.isWritable {
            pauses.insert(.output)
            wasFull = true
        }
    }

    private func readOn() {
        guard readWithheld, pauses.isEmpty || phase == .lingering else { return }
        readWithheld = false
        // While nothing was read the client could not end its line.
        if lineBegunAt != nil { lineBegunAt = loop.now }
        handler?.read()
    }

    /// Closes once nothing is owed: after a refusal, after `close`, or when the client has shut down its direction.
    private func finishIfDone() {
        switch phase {
        case .open: guard inputEnded, pauses.isEmpty, !isSubscriber else { return }
        case .refusing: break
        case .finishing, .lingering, .closed: return
        }
        guard isOpened, waiting.isEmpty, output.readableBytes == 0 else { return }
        phase = .finishing
        handler?.afterWriting { self.finish() }
    }

    private func finish() {
        guard phase == .finishing else { return }
        guard !inputEnded, !loop.isStopping else { handler?.close(); return }
        phase = .lingering
        lingeringSince = loop.now
        handler?.shutDownOutput()
        readOn()
    }

    /// The channel is gone.
    func closed() {
        guard phase != .closed else { return }
        phase = .closed
        waiting = []
        longIDs = [:]
        held = [:]
        lastHeld = nil
        heldBytes = 0
        output = ByteBuffer()
        unread = ByteBuffer()
        onWritable = nil
        onTurnEnded = nil
        if refusal == nil { loop.service.connectionClosed(self) }
        serviceState = nil
    }

    // MARK: Watching

    func attach(_ handler: ConnectionHandler) { self.handler = handler }

    /// The channel is connected.
    func opened() {
        isOpened = true
        if let refusal { refuse(refusal) }
        if loop.isStopping { stop() }
        markTouched()
    }

    func writabilityChanged() { markTouched() }

    /// Looks at what takes too long.
    func tick(_ now: NIODeadline) {
        guard phase != .closed else { return }
        let buffered = handler?.bufferedBytes ?? 0
        let taken = handedOverBytes - buffered
        if buffered == 0 || taken != takenBytes {
            takenBytes = taken
            progressAt = now
        } else if now - progressAt > TimeAmount(limits.stalledTimeMax) {
            loop.log("a client that does not read was cut off", peer)
            handler?.close()
            return
        }
        if let lingeringSince, now - lingeringSince > TimeAmount(limits.lingerTimeMax) {
            handler?.close()
        } else if pauses.isEmpty, let lineBegunAt, now - lineBegunAt > TimeAmount(limits.lineTimeMax) {
            refuse(ErrorReply(.lineUnfinished, "a line was begun and did not end within \(limits.lineTimeMax)"))
        } else if phase == .open, waiting.isEmpty, !isSubscriber, now - activeAt > TimeAmount(limits.idleTimeMax) {
            handler?.close()
        }
    }

    /// The daemon stops: what is owed is answered, then the connection closes.
    func stop() {
        switch phase {
        case .open: stopTaking()
        case .lingering: handler?.close()
        case .refusing, .finishing, .closed: break
        }
    }

    /// The time for that is over.
    func abandon() { handler?.close() }
}
