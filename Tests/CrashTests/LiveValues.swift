import CLMDB
import TestSupport

/// A value of an LMDB table as it stands in the file now: LMDB copies pages when it writes, so the same bytes may stand in
/// dead pages as well, and a flipped bit there changes nothing.
struct LiveValue {
    var table: String
    /// Of its first byte in data.mdb.
    var offset: Int
    var count: Int
}

/// All values of all tables of the stopped environment in `directory`.
func liveValues(in directory: String) throws -> [LiveValue] {
    func check(_ code: Int32, _ what: String) throws {
        if code != 0 { throw SystemFailure("\(what): \(String(cString: mdb_strerror(code)))", code: 0) }
    }
    var opened: OpaquePointer?
    try check(mdb_env_create(&opened), "create")
    let environment = opened!
    defer { mdb_env_close(environment) }
    try check(mdb_env_set_maxdbs(environment, 32), "maxdbs")
    try check(mdb_env_open(environment, directory, UInt32(MDB_RDONLY | MDB_NOLOCK), 0o600), "open \(directory)")
    let base = try mappingBase(of: directory + "/data.mdb")
    var begun: OpaquePointer?
    try check(mdb_txn_begin(environment, nil, UInt32(MDB_RDONLY), &begun), "begin")
    let transaction = begun!
    defer { mdb_txn_abort(transaction) }

    func entries(of table: MDB_dbi) throws -> [(key: MDB_val, value: MDB_val)] {
        var opened: OpaquePointer?
        try check(mdb_cursor_open(transaction, table, &opened), "cursor")
        defer { mdb_cursor_close(opened) }
        var entries: [(key: MDB_val, value: MDB_val)] = []
        var key = MDB_val()
        var value = MDB_val()
        while mdb_cursor_get(opened, &key, &value, MDB_NEXT) == 0 { entries.append((key, value)) }
        return entries
    }
    var main: MDB_dbi = 0
    try check(mdb_dbi_open(transaction, nil, 0, &main), "the table of tables")
    var values: [LiveValue] = []
    func add(_ value: MDB_val, of table: String) {
        let offset = UInt(bitPattern: value.mv_data) - base
        values.append(LiveValue(table: table, offset: Int(offset), count: value.mv_size))
    }
    for entry in try entries(of: main) {
        let name = String(
            decoding: UnsafeRawBufferPointer(start: entry.key.mv_data, count: entry.key.mv_size), as: UTF8.self)
        var table: MDB_dbi = 0
        let code = mdb_dbi_open(transaction, name, 0, &table)
        // An entry beside the tables: the newest leaf hashes.
        if code == MDB_INCOMPATIBLE {
            add(entry.value, of: "the table of tables")
            continue
        }
        try check(code, "table \(name)")
        for entry in try entries(of: table) { add(entry.value, of: name) }
    }
    return values
}

/// Where this process has mapped the file.
private func mappingBase(of path: String) throws -> UInt {
    for line in try text(ofFile: "/proc/self/maps").split(separator: "\n") where line.hasSuffix(path) {
        if let base = UInt(line.prefix { $0 != "-" }, radix: 16) { return base }
    }
    throw TimedOut("a mapping of \(path)")
}
