package import LMDB

/// Why the ledger could not do something: whose concern it is, where, and what met it.
///
/// What a stored unit is answered is not here: see ``AppendOutcome``.
package struct LedgerError: Error, Sendable {
    package enum Kind: Sendable, Equatable {
        // The caller's request.
        /// The event's record would be longer than `LedgerLimits.recordBytesMax`.
        case recordTooLarge
        /// Bytes that are not a record, or an event that no record can hold.
        case invalidRecord
        // Resources: worth another try.
        case diskFull
        case ledgerFull
        case readersFull
        // The data.
        /// A stored event is not what was stored, or is not where it must be.
        case corruption
        /// A directory, a file or a version that this program does not take.
        case format
        // The surroundings.
        case cannotCreate
        /// Another daemon has the directory.
        case locked
        case io
    }

    package let kind: Kind
    package let message: String
    package var position: Position?
    package var path: String?
    package var underlying: LMDBError?

    package init(
        _ kind: Kind, _ message: String, position: Position? = nil, path: String? = nil, underlying: LMDBError? = nil
    ) {
        self.kind = kind
        self.message = message
        self.position = position
        self.path = path
        self.underlying = underlying
    }

    /// What the operator should look at or run. Nil where the message says it all.
    package var hint: String? {
        switch kind {
        case .recordTooLarge, .invalidRecord: nil
        case .diskFull: "free some space on the device; reads go on, and appends as soon as there is room"
        case .ledgerFull: "raise the log's map size in the configuration and restart"
        case .readersFull: "too many reads at once; retry in a moment"
        case .corruption: "stop the daemon, look at the disk, and run `leadledgerd check`"
        case .format: "look at the directory: its place is wrong, a part of it is missing, or it comes from elsewhere"
        case .cannotCreate: "look at the path, its owner and the free space"
        case .locked: "one daemon serves a directory; stop the other one"
        case .io: "look at the kernel's log and at the disk before starting again"
        }
    }
}

extension LedgerError {
    init(_ error: LMDBError, path: String? = nil) {
        let kind: Kind =
            if error.isDiskFull {
                .diskFull
            } else if error.isMapFull {
                .ledgerFull
            } else if error.isReadersFull {
                .readersFull
            } else if error.isCorruption {
                .corruption
            } else {
                switch error.operation {
                // What the environment refuses before it looks at the data: a wrong place, wrong rights.
                case .checkFileSystem, .checkOwner: .format
                case .register: .locked
                default: .io
                }
            }
        self.init(kind, error.description, path: path, underlying: error)
    }

    init(_ error: FileError, kind: Kind = .io) {
        self.init(error.isDiskFull ? .diskFull : kind, error.description, path: error.path)
    }

    init(_ error: CacheError) {
        switch error {
        case .lmdb(let error): self.init(error)
        case .file(let error): self.init(error)
        }
    }

    static func corruption(_ message: String, at position: UInt64) -> LedgerError {
        LedgerError(.corruption, message, position: Position(rawValue: position))
    }
}

extension LedgerError: CustomStringConvertible {
    package var description: String {
        var text = message
        if let position { text += " (position \(position))" }
        if let path, !message.contains(path) { text += " (\(path))" }
        // A message of LMDB's has its own, which is nearer.
        if let hint, underlying?.hint == nil { text += ". Hint: \(hint)" }
        return text
    }
}
