import Glibc

/// The checkout that these tests belong to.
let packageRoot = #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 }

func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }
