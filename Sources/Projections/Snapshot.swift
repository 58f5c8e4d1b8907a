import LMDB
package import Ledger

/// A read model at one position: what queries read. They are extensions of it, beside each model.
///
/// It never blocks the worker, but keeps pages from reuse while it lives: ask and let go.
package struct Snapshot<Model: Projection>: ~Copyable {
    package let model: Model
    let transaction: ReadTransaction
    /// All events below it are in.
    package let position: Position

    init(_ model: Model, of build: ModelBuild) throws(LMDBError) {
        let transaction = try build.cache.environment.beginRead()
        position = Position(rawValue: try ModelBuild.number("progress", build.meta, in: transaction) ?? 0)
        self.model = model
        self.transaction = transaction
    }
}
