import Ledger

/// The file `models/ACTIVE`: which build of each read model answers, one a line.
///
/// ```
/// leads@1.3
/// queue@1.1
/// ```
///
/// It is replaced as a whole, so that a switch has either happened or not. A file that cannot be read names none: builds are
/// caches, and are made anew.
struct ActiveBuilds: Equatable {
    private(set) var names: [BuildName] = []

    private static func path(in models: String) -> String { models + "/ACTIVE" }

    init() {}

    init(in models: String) throws(FileError) {
        guard let text = try DurableFiles.readFile(Self.path(in: models)) else { return }
        names = text.split(separator: "\n").compactMap { BuildName($0) }
    }

    subscript(model: String) -> BuildName? { names.first { $0.model == model } }

    mutating func set(_ name: BuildName) {
        names.removeAll { $0.model == name.model }
        names.append(name)
        names.sort { $0.model < $1.model }
    }

    func write(in models: String) throws(FileError) {
        try DurableFiles.replaceFile(Self.path(in: models), with: names.map { "\($0)\n" }.joined())
    }
}
