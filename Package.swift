// swift-tools-version: 6.2
import PackageDescription

let houseStyle: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .treatAllWarnings(as: .error),
    // Debug builds, and so all tests, check exclusive access; in the daemon these checks took a tenth of an append.
    .unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release)),
]

// The modules of an event's path. `package` functions, `@inlinable` or not, are neither inlined nor specialised in another
// module unless the compiler is told so; it then wants them built as if they were to evolve apart. A function of theirs with several
// constant arrays would be a trap: scripts/check-release says why, and looks for such.
let eventPath =
    houseStyle + [
        .unsafeFlags(
            [
                "-enable-library-evolution", "-no-emit-module-separately-wmo", "-Xfrontend", "-package-cmo",
                "-Xfrontend", "-allow-non-resilient-access",
            ], .when(configuration: .release))
    ]

let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let collections = Target.Dependency.product(name: "DequeModule", package: "swift-collections")
let heap = Target.Dependency.product(name: "HeapModule", package: "swift-collections")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let yams = Target.Dependency.product(name: "Yams", package: "Yams")

// The fuzzer needs flags that the other builds must not have, so scripts/fuzz alone asks for it. Everybody else gets the test
// that replays its corpus through the same code.
let fuzzDependencies: [Target.Dependency] = [
    "Control", "LeadLedger", "Ledger", "JSON", nioCore, .product(name: "NIOEmbedded", package: "swift-nio"), logging,
]
let fuzzing: [Target] =
    Context.environment["LEADLEDGER_FUZZ"] == "1"
    ? [
        .executableTarget(
            name: "leadledger-fuzz", dependencies: fuzzDependencies, path: "Tests/Fuzz", exclude: ["corpus", "Replay"],
            sources: ["Targets", "Fuzzer"],
            swiftSettings: houseStyle + [.unsafeFlags(["-parse-as-library"])])
    ]
    : [
        .testTarget(
            name: "FuzzTests", dependencies: fuzzDependencies, path: "Tests/Fuzz", exclude: ["corpus", "Fuzzer"],
            sources: ["Targets", "Replay"],
            swiftSettings: houseStyle)
    ]

let package = Package(
    name: "leadledger",
    products: [
        .library(name: "LeadLedgerClient", targets: ["LeadLedgerClient"]),
        .executable(name: "leadledgerd", targets: ["leadledgerd"]),
        .executable(name: "leadledger", targets: ["leadledger"]),
        .executable(name: "leadledger-bench", targets: ["leadledger-bench"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: [
        // Storage.
        .systemLibrary(name: "CLMDB", pkgConfig: "lmdb", providers: [.apt(["liblmdb-dev"])]),
        .target(name: "LMDB", dependencies: ["CLMDB"], swiftSettings: eventPath),
        .systemLibrary(name: "CAIO", providers: [.apt(["libaio-dev"])]),
        .systemLibrary(name: "COpenSSL", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
        .target(name: "CLeafHash", cSettings: [.unsafeFlags(["-O2"], .when(configuration: .debug))]),
        .target(
            name: "Ledger", dependencies: ["LMDB", "CAIO", "CLeafHash", "COpenSSL", collections],
            swiftSettings: eventPath),

        // JSON and the schemas, which are the system of record.
        .target(
            name: "CSimdJSON", cxxSettings: [.unsafeFlags(["-O2"], .when(configuration: .debug))],
            linkerSettings: [.linkedLibrary("simdjson")]),
        .target(name: "JSON", dependencies: ["CSimdJSON"], swiftSettings: eventPath),
        .target(
            name: "Schemas", path: "schemas", exclude: ["README.md", "vectors"], sources: ["Schemas.swift"],
            resources: [
                .embedInCode("events"), .embedInCode("methods"), .embedInCode("errors.json"),
                .embedInCode("mapping.json"), .embedInCode("policy"),
            ],
            swiftSettings: houseStyle),

        // The business, and what is read from the log.
        .target(name: "Leads", swiftSettings: eventPath),
        .target(
            name: "Projections", dependencies: ["Leads", "Ledger", "LMDB", "JSON", crypto], swiftSettings: eventPath),

        // Rule sets as people write them. Apart from LeadLedger, since the command line reads them too.
        .target(
            name: "PolicyDocuments", dependencies: ["Leads", "JSON", "Schemas", crypto, yams], swiftSettings: houseStyle
        ),

        // The wire and the wiring.
        .target(
            name: "Control", dependencies: ["JSON", "Schemas", nioCore, nioPosix, collections, logging],
            swiftSettings: eventPath),
        .target(
            name: "LeadLedger",
            dependencies: [
                "Control", "Projections", "PolicyDocuments", "Leads", "Ledger", "LMDB", "JSON", "Schemas", nioCore,
                nioPosix, crypto, collections, heap, logging, yams,
            ],
            swiftSettings: houseStyle),
        .target(name: "LeadLedgerClient", dependencies: ["Control", "JSON"], swiftSettings: houseStyle),

        // The programs.
        .executableTarget(
            name: "leadledgerd", dependencies: ["LeadLedger", arguments, logging], swiftSettings: houseStyle),
        .executableTarget(
            name: "leadledger",
            dependencies: [
                "LeadLedgerClient", "PolicyDocuments", "Control", "JSON", "Leads", "Schemas", collections, heap,
                arguments,
                yams,
            ],
            swiftSettings: houseStyle),
        .executableTarget(
            name: "leadledger-bench", dependencies: ["LMDB", "JSON", arguments], swiftSettings: houseStyle),

        // Tests: a folder for each target.
        .testTarget(name: "LMDBTests", dependencies: ["LMDB", "CLMDB", "TestSupport"], swiftSettings: houseStyle),
        .testTarget(name: "JSONTests", dependencies: ["JSON"], swiftSettings: houseStyle),
        .testTarget(
            name: "SchemasTests", dependencies: ["JSON", "Schemas"], exclude: ["verdicts.py"], swiftSettings: houseStyle
        ),
        .testTarget(name: "LeadsTests", dependencies: ["Leads", "TestSupport"], swiftSettings: houseStyle),
        .testTarget(
            name: "LedgerTests", dependencies: ["Ledger", "LMDB", "JSON", "TestSupport", crypto],
            swiftSettings: houseStyle),
        .testTarget(
            name: "ProjectionsTests", dependencies: ["Projections", "Leads", "Ledger", "LMDB", "JSON", crypto],
            swiftSettings: houseStyle),
        .testTarget(
            name: "PolicyDocumentsTests", dependencies: ["PolicyDocuments", "Leads", "JSON", "Schemas", crypto],
            exclude: ["Fixtures"], swiftSettings: houseStyle),
        .testTarget(
            name: "ControlTests", dependencies: ["Control", "JSON", "Schemas", nioCore, nioPosix],
            swiftSettings: houseStyle),
        .target(
            name: "TestSupport", dependencies: ["JSON"], path: "Tests/TestSupport", swiftSettings: houseStyle),
        .testTarget(
            name: "LeadLedgerClientTests", dependencies: ["LeadLedgerClient", "TestSupport", "Control", "JSON"],
            swiftSettings: houseStyle),
        .testTarget(
            name: "CommandLineTests",
            dependencies: [
                "leadledger", "LeadLedgerClient", "PolicyDocuments", "TestSupport", "Control", "JSON", "Leads",
                "Schemas", crypto,
                arguments,
            ],
            swiftSettings: houseStyle),
        .testTarget(
            name: "LeadLedgerTests",
            dependencies: [
                "LeadLedger", "Control", "PolicyDocuments", "Projections", "Leads", "Ledger", "JSON", "Schemas",
                "TestSupport", nioCore, logging,
            ],
            swiftSettings: houseStyle),
        .testTarget(
            name: "LeadLedgerBenchTests",
            dependencies: [
                "leadledger-bench", "PolicyDocuments", "Leads", "Ledger", "LMDB", "JSON", "Schemas", "TestSupport",
                arguments,
            ],
            swiftSettings: houseStyle),

        // Tests of the programs as they run. The planted daemon is the one they must catch: its log does not sync, or is acknowledged too early.
        .target(name: "CNoSync", dependencies: ["CLMDB"], path: "Tests/PlantedDaemon/CNoSync"),
        .executableTarget(
            name: "leadledgerd-planted", dependencies: ["CNoSync", "LeadLedger", logging],
            path: "Tests/PlantedDaemon/leadledgerd-planted", swiftSettings: houseStyle),
        // A log without a socket, for the tests that take its disk away.
        .executableTarget(
            name: "ledger-driver", dependencies: ["Ledger"], path: "Tests/LedgerDriver", swiftSettings: houseStyle),
        .testTarget(
            name: "EndToEndTests", dependencies: ["TestSupport", "JSON", "Leads", "Ledger", "Projections"],
            swiftSettings: houseStyle),
        .testTarget(name: "CrashTests", dependencies: ["TestSupport", "JSON", "CLMDB"], swiftSettings: houseStyle),
    ] + fuzzing,
    cxxLanguageStandard: .cxx17
)
