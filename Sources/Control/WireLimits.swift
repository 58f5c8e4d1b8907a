/// The bounds of the wire, each with its unit and its reason. Tests take smaller ones; users cannot change them yet.
package struct WireLimits: Sendable {
    /// Bytes of one line, newline excluded. A unit of 1,000 usual events is half of this.
    package var frameBytesMax = 1 << 20

    /// Bytes of an `id` as it stands in the line: it is kept with every request that has no reply yet. A UUID takes 38.
    package var idBytesMax = 128

    /// Connections served at once. More than the integrations of one machine, and far fewer than file descriptors.
    package var connectionsMax = 256

    /// Connections of root or of the daemon's own user, which are the users served: so that a program that leaks
    /// connections leaves room for an operator to look.
    package var connectionsPerUserMax = 240

    /// Refused connections that are told why at leisure, while what they still write is thrown away. Beyond it they are told
    /// and closed in one go: a client that is just writing may then lose the reply, all others get it.
    package var refusalsMax = 64

    /// Requests of one connection that have no reply yet; its next lines wait unread. An append takes about 80
    /// bytes here, and a burst deeper than this fills no group of the log any better; of others see `keptBytesMax`.
    package var requestsInFlightMax = 65_536

    /// Bytes that the service may keep of one connection's requests until they are answered; its next lines wait unread. A
    /// thousand acks with an event each, or one of the largest lines, and 2 GiB for all connections together. An append is
    /// not counted while it waits for the appender, whose queue bounds that; one that is stored and waits for a read model is.
    package var keptBytesMax = 8 << 20

    /// Bytes that are kept of a request whose line has `bytes`, about: a text of a few bytes in a filter or a token becomes an
    /// array or a struct (9 times its line was measured for a filter of 256 short ids), and a request without parameters takes
    /// its place in the queues.
    package static func keptBytes(ofLine bytes: Int) -> Int { 1_024 + 8 * bytes }

    /// Bytes of replies that wait for a client to read. Above the first no more of its lines are taken, below the second
    /// they are again. The operating system's own buffer (208 KiB) comes before these.
    package var outputHighBytes = 1 << 20
    package var outputLowBytes = 256 << 10

    /// A line that was begun must end within this time: otherwise 240 half lines hold all connections for ever.
    package var lineTimeMax: Duration = .seconds(10)

    /// A client that takes nothing of what waits for it is cut off after this time.
    package var stalledTimeMax: Duration = .seconds(10)

    /// A connection without a request, a reply or a subscription is closed after this time. Generous by taste: a CRM may
    /// be quiet over lunch, a connection that was forgotten need not stay for ever.
    package var idleTimeMax: Duration = .seconds(3_600)

    /// After the last reply to a client that may still be writing, its bytes are read and thrown away for this long and
    /// up to this many: closing at once would reset the connection under its hands, and many clients would then lose the
    /// reply that says why.
    package var lingerTimeMax: Duration = .seconds(10)
    package var lingerBytesMax = 64 << 20

    /// Bytes taken from a socket at once. The allocator adapts between the two to what a connection sends.
    package var readBytesMin = 4 << 10
    package var readBytesMax = 256 << 10

    /// What `busy` advises when there is no connection left. By taste: long enough not to be a storm.
    package var retryAfterMilliseconds = 200

    package init() {}
}
