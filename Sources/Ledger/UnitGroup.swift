// UnitBatch, UnitGroup: how units travel. An array of them changes hands as a whole, from the sink that made them to the appender and
// back, and but where it is split, no reference to a unit is counted: to count one is to wait for a line that lies in another core's cache.

/// Units of one sink, in order, as they were handed over.
struct UnitBatch {
    private(set) var units: [AppendUnit]
    let sink: any AppendReplySink
    /// Sums of `AppendUnit.byteCount` and `AppendUnit.writeCount`.
    private(set) var bytes = 0
    private(set) var writes = 0

    /// - Returns: nil for no units, and for those of several sinks.
    init?(_ units: [AppendUnit]) {
        guard let sink = units.first?.sink else { return nil }
        (self.units, self.sink) = (units, sink)
        var isOfOneSink = true
        units.lend { unit in
            bytes += unit.byteCount
            writes += unit.writeCount
            if unit.sink !== sink { isOfOneSink = false }
        }
        guard isOfOneSink else { return nil }
    }

    /// Units in order, as few batches as they make.
    static func batches(of units: some Collection<AppendUnit>) -> [UnitBatch] {
        var batches: [UnitBatch] = []
        var rest = units[...]
        while let sink = rest.first?.sink {
            let own = rest.prefix { $0.sink === sink }
            if let batch = UnitBatch(Array(own)) { batches.append(batch) }
            rest = rest.dropFirst(own.count)
        }
        return batches
    }

    /// Takes the first units out, until they have so many writes or bytes: at least one.
    mutating func takeFirst(writesMax: Int, bytesMax: Int) -> UnitBatch {
        var first = self
        var (count, writes, bytes) = (0, 0, 0)
        repeat {
            writes += units[count].writeCount
            bytes += units[count].byteCount
            count += 1
        } while count < units.count && writes < writesMax && bytes < bytesMax
        (first.units, first.writes, first.bytes) = (Array(units[..<count]), writes, bytes)
        units.removeFirst(count)
        self.writes -= writes
        self.bytes -= bytes
        return first
    }
}

/// The units of one commit: batches, and their units as one row.
struct UnitGroup {
    private var batches: [UnitBatch] = []
    /// Held by `batches`.
    private var units: [Unmanaged<AppendUnit>] = []

    var isEmpty: Bool { units.isEmpty }
    var count: Int { units.count }
    var writes: Int { batches.reduce(0) { $0 + $1.writes } }

    /// Begins with these.
    mutating func set(_ batches: [UnitBatch]) {
        units.removeAll(keepingCapacity: true)
        for batch in batches { batch.units.lend { units.append(.passUnretained($0)) } }
        self.batches = batches
    }

    /// Gives all away.
    mutating func take() -> [UnitBatch] {
        units.removeAll(keepingCapacity: true)
        var taken: [UnitBatch] = []
        swap(&taken, &batches)
        return taken
    }

    /// Calls `body` for each unit.
    func lend(_ body: (AppendUnit) -> Void) {
        for unit in units { unit._withUnsafeGuaranteedRef(body) }
    }

    /// Calls `body` for one unit.
    @inline(__always)
    func lend<E: Error>(at index: Int, _ body: (AppendUnit) throws(E) -> Void) throws(E) {
        // That of the library throws any error.
        let result: Result<Void, E> = units[index]._withUnsafeGuaranteedRef { unit in
            do throws(E) { return .success(try body(unit)) } catch { return .failure(error) }
        }
        try result.get()
    }

    /// Calls `body` for each, where they lie in no near cache.
    @inline(__always)
    func lendFetching(_ body: (AppendUnit) -> Void) {
        units.withUnsafeBufferPointer { $0.lendFetching(body) }
    }
}
