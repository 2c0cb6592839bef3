// swift-tools-version: 6.2

import PackageDescription

let package = Package(
  name: "parley",
  platforms: [.macOS(.v15)],
  products: [
    .executable(name: "parley", targets: ["parley"]),
    .library(name: "ParleyClient", targets: ["ParleyClient"]),
  ],
  dependencies: [
    // The command line: flags, help and completion that people already know.
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    // One reader over flags, environment and file, in that order.
    .package(url: "https://github.com/apple/swift-configuration", from: "1.4.0"),
    // SHA-256 and HMAC for derived ids and page tokens.
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
    // The logging API every Swift server shares.
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    // Event loops and sockets for server and client.
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    // Verifies and mints the JSON Web Tokens that carry a caller's claims.
    .package(url: "https://github.com/vapor/jwt-kit", from: "5.7.1"),
    // Signals and ordered shutdown.
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    // Runs initdb and pg_ctl for the private PostgreSQL.
    .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2"),
  ],
  targets: [
    .executableTarget(name: "parley", dependencies: [
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Configuration", package: "swift-configuration"),
        .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "JWTKit", package: "jwt-kit"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "Subprocess", package: "swift-subprocess"),
    ]),
    .target(name: "ParleyClient"),
  ]
)
