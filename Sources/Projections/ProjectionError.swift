import LMDB
package import Ledger

/// Why a read model could not do something.
package struct ProjectionError: Error, Sendable, CustomStringConvertible {
    package enum Kind: Sendable, Equatable {
        // The caller's request.
        case unknownModel
        /// The model has not caught up since it was begun again: `progress` of `target` events.
        case rebuilding
        /// A rebuild of this model is under way.
        case rebuildRunning
        // Resources: worth another try.
        case readersFull
        case diskFull
        /// The set is being stopped.
        case stopping
        // The data and the surroundings.
        /// A row is not one of this layout: the build is broken, and a rebuild mends it.
        case brokenRow
        case io
    }

    package var kind: Kind
    package var message: String
    package var model: String?
    package var progress: Position?
    package var target: Position?

    package init(
        _ kind: Kind, _ message: String, model: String? = nil, progress: Position? = nil, target: Position? = nil
    ) {
        self.kind = kind
        self.message = message
        self.model = model
        self.progress = progress
        self.target = target
    }

    static let brokenRow = ProjectionError(.brokenRow, "a row is not what this model writes; rebuild the model")

    init(_ error: CacheError, model: String) {
        self.init(error.isDiskFull ? .diskFull : .io, error.description, model: model)
    }

    init(_ error: FileError) { self.init(error.isDiskFull ? .diskFull : .io, error.description) }

    init(_ error: LMDBError, model: String) {
        let kind: Kind = error.isReadersFull ? .readersFull : error.isDiskFull || error.isMapFull ? .diskFull : .io
        self.init(kind, error.description, model: model)
    }

    package var description: String { model.map { "\($0): \(message)" } ?? message }
}
