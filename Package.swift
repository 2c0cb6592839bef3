// swift-tools-version: 6.2

import PackageDescription

let package = Package(
  name: "parley",
  platforms: [.macOS(.v15)],
  products: [
    .executable(name: "parley", targets: ["parley"]),
    .executable(name: "parley-bench", targets: ["parley-bench"]),
    .library(name: "ParleyClient", targets: ["ParleyClient"]),
  ],
  dependencies: [
    // The command line: flags, help and completion that people already know.
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    // One reader over flags, environment and file, in that order.
    .package(url: "https://github.com/apple/swift-configuration", from: "1.4.0"),
    // SHA-256 of contents and migrations, and keys in the tests of tokens.
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
    // Percentiles of latencies, for parley-bench.
    .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
    // The logging API every Swift server shares.
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    // Event loops and sockets for server and client.
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    // Quiescing: closes a server's connections once they are idle.
    .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.2"),
    // The HTTP/2 of tests' clients alone, which is not the server's own: server and load harness have nghttp2's.
    .package(url: "https://github.com/apple/swift-nio-http2", from: "1.46.0"),
    // Verifies and mints the JSON Web Tokens that carry a caller's claims.
    .package(url: "https://github.com/vapor/jwt-kit", from: "5.7.1"),
    // Signals and ordered shutdown.
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    // Runs initdb and pg_ctl for the private PostgreSQL, and floods of the bench in processes of their own.
    .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2"),
    // The type of paths that swift-subprocess takes.
    .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
  ],
  targets: [
    .systemLibrary(name: "CLibpq", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
    .systemLibrary(name: "CNghttp2", pkgConfig: "libnghttp2", providers: [.apt(["libnghttp2-dev"])]),
    .systemLibrary(
      name: "CProtobufC", pkgConfig: "libprotobuf-c", providers: [.apt(["libprotobuf-c-dev"])]),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .target(name: "CMessages", dependencies: ["CProtobufC"]),
    // Values and rules. A client has it, too, so it depends on nothing.
    .target(name: "Core", swiftSettings: strict),
    // Bytes to values and back: messages, and the framing that clients and the load harness have, too.
    .target(
      name: "Messages", dependencies: ["CMessages", "CZlib", "Core"], resources: [.embedInCode("Resources")],
      swiftSettings: strict),
    // Protocols, the registry of methods, and how a call is run. It knows no feature.
    .target(
      name: "RPC",
      dependencies: [
        "CNghttp2", "Core", "Messages",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOExtras", package: "swift-nio-extras"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ],
      swiftSettings: strict),
    // Tokens and scopes. Apart from the features, because the load harness mints tokens and needs none of those.
    .target(
      name: "Auth",
      dependencies: [
        "Core", "Messages", "RPC",
        .product(name: "JWTKit", package: "jwt-kit"),
        .product(name: "Logging", package: "swift-log"),
      ],
      swiftSettings: strict),
    // Connections to PostgreSQL. It knows nothing of Parley.
    .target(
      name: "Postgres",
      dependencies: ["CLibpq", .product(name: "Logging", package: "swift-log")],
      swiftSettings: strict),
    // initdb and pg_ctl.
    .target(
      name: "PrivateCluster",
      dependencies: [
        "Postgres",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "Subprocess", package: "swift-subprocess"),
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: strict),
    // The features, a folder each, and what they share.
    .target(
      name: "Service",
      dependencies: [
        "Core", "Messages", "Postgres", "RPC",
        .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "Logging", package: "swift-log"),
      ],
      exclude: ["Citus/README.md", "Jobs/README.md", "Recording/README.md", "Statistics/README.md"],
      resources: [
        .embedInCode("Citus/SQL"), .embedInCode("Interactions/SQL"), .embedInCode("Jobs/SQL"),
        .embedInCode("Migrations"),
        .embedInCode("Recording/SQL"), .embedInCode("Statistics/SQL"), .embedInCode("Storage/SQL"),
        .embedInCode("Tenants/SQL"),
      ],
      swiftSettings: strict),
    // The load harness, of which parley-bench is the command.
    .target(
      name: "Bench",
      dependencies: [
        "CLibpq", "CNghttp2", "Core", "Messages",
        .product(name: "Histogram", package: "hdrhistogram-swift"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
      ],
      exclude: ["README.md"],
      swiftSettings: strict),
    // What both commands have: streams, tables, files, JSON.
    .target(
      name: "CommandSupport",
      dependencies: [
        "Auth", "Core", "Postgres", "RPC", .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: strict),
    .executableTarget(
      name: "parley-bench",
      dependencies: [
        "Auth", "Bench", "CommandSupport", "Core", "Messages", "ParleyClient", "RPC",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Subprocess", package: "swift-subprocess"),
        .product(name: "SystemPackage", package: "swift-system"),
        .product(name: "UnixSignals", package: "swift-service-lifecycle"),
      ],
      swiftSettings: strict),
    // The server's settings: each is declared once, and read from flags, environment and file.
    .target(
      name: "Settings",
      dependencies: [
        "Auth", "CommandSupport", "Core", "Postgres", "RPC", "Service",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Configuration", package: "swift-configuration"),
        .product(name: "Logging", package: "swift-log"),
      ],
      swiftSettings: strict),
    .executableTarget(
      name: "parley",
      dependencies: [
        "Auth", "CommandSupport", "Core", "Messages", "ParleyClient", "Postgres", "PrivateCluster", "RPC", "Service",
        "Settings",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "UnixSignals", package: "swift-service-lifecycle"),
      ],
      swiftSettings: strict,
      // jemalloc replaces glibc's malloc, because a record's memory is allocated on one thread and freed on another. glibc's
      // malloc takes locks for that, which cost 11 % of the server's CPU per record. Debug builds keep glibc's malloc, because
      // sanitizers work only with it.
      linkerSettings: [.linkedLibrary("jemalloc", .when(platforms: [.linux], configuration: .release))]),
    .target(
      name: "ParleyClient",
      dependencies: [
        "Core", "Messages",
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
      ],
      swiftSettings: strict),
    .target(
      name: "TestSupport",
      dependencies: [
        "CLibpq", "Core", "PrivateCluster", "Service", .product(name: "Logging", package: "swift-log"),
      ],
      path: "Tests/TestSupport",
      swiftSettings: strict),
    // The Swift program of README.md, letter for letter, so that it can be compiled and run.
    .executableTarget(
      name: "ReadmeExample", dependencies: ["ParleyClient"], path: "Tests/Interop/readme", swiftSettings: strict),
    .testTarget(
      name: "CoreTests",
      dependencies: ["Core", "TestSupport", .product(name: "Crypto", package: "swift-crypto")],
      swiftSettings: strict),
    .testTarget(
      name: "MessagesTests", dependencies: ["CMessages", "Core", "Messages", "TestSupport"], swiftSettings: strict),
    .testTarget(
      name: "BenchTests",
      dependencies: [
        "Bench", "CNghttp2", "Core", "Messages", "RPC",
        .product(name: "Histogram", package: "hdrhistogram-swift"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
      ],
      swiftSettings: strict),
    .testTarget(
      name: "PostgresTests",
      dependencies: ["Postgres", "TestSupport", .product(name: "Logging", package: "swift-log")],
      swiftSettings: strict),
    .testTarget(
      name: "ServiceTests",
      dependencies: [
        "Core", "Postgres", "RPC", "Service", "TestSupport", .product(name: "Logging", package: "swift-log"),
      ],
      swiftSettings: strict),
    .testTarget(
      name: "RPCTests",
      dependencies: [
        "Auth", "Core", "Messages", "ParleyClient", "RPC", "Service", "TestSupport",
        .product(name: "CryptoExtras", package: "swift-crypto"),
        .product(name: "JWTKit", package: "jwt-kit"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOEmbedded", package: "swift-nio"),
        .product(name: "NIOExtras", package: "swift-nio-extras"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ],
      swiftSettings: strict),
    .testTarget(
      name: "GRPCTests",
      dependencies: [
        "Auth", "Core", "Messages", "RPC", "Service", "TestSupport",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOEmbedded", package: "swift-nio"),
        .product(name: "NIOExtras", package: "swift-nio-extras"),
        .product(name: "NIOHPACK", package: "swift-nio-http2"),
        .product(name: "NIOHTTP2", package: "swift-nio-http2"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ],
      swiftSettings: strict),
    .testTarget(name: "CommandSupportTests", dependencies: ["CommandSupport"], swiftSettings: strict),
    .testTarget(
      name: "SettingsTests",
      dependencies: [
        "CommandSupport", "Core", "Postgres", "Settings",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: strict),
    // gRPC's own interoperability service on our layer; no product.
    .executableTarget(
      name: "GRPCTestService",
      dependencies: [
        "Auth", "Core", "Messages", "RPC",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "UnixSignals", package: "swift-service-lifecycle"),
      ],
      path: "Tests/Interop/grpc-cases/service",
      swiftSettings: strict),
  ]
)

/// How every Swift target here is compiled.
var strict: [SwiftSetting] {
  [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
    // A call goes through several modules. This compiles their generic code for its concrete types, as within one module.
    // Without it a record took 8 % more of the server's CPU.
    .unsafeFlags(["-cross-module-optimization"], .when(configuration: .release)),
  ]
}
