import ArgumentParser
import CommandSupport
import Configuration
import Domain
import Foundation
import Logging
import Postgres
import Server
import Store
import Wire

/// What a server is told, from flags, then the environment (`PARLEY_…`), then a JSON file.
struct ServerSettings: ParsableArguments {
  @Option(
    name: .customLong("listen"),
    help: ArgumentHelp("Listen here: unix:PATH or HOST:PORT; may be repeated.", valueName: "address"))
  var addresses: [String] = []

  @Option(
    name: .customLong("data"),
    help: ArgumentHelp("The folder of the private PostgreSQL and the secret.", valueName: "dir"))
  var directory: String?

  @Option(help: "Use this PostgreSQL (a URI or keywords, as libpq takes) instead of a private one.")
  var databaseUrl: String?

  @Option(help: "A file with the secret that HS256 tokens are signed with, at least 32 bytes.")
  var jwtSecretFile: String?

  @Option(
    name: .customLong("jwt-public-key-file"),
    help: "A PEM file with a public key that tokens are signed for (RS256, ES256 or EdDSA); may be repeated.")
  var jwtPublicKeyFiles: [String] = []

  @Option(help: "Require this iss in tokens.")
  var jwtIssuer: String?

  @Option(help: "Require this aud in tokens.")
  var jwtAudience: String?

  @Option(help: "How many seconds the clock of who signs tokens may be ahead or behind, 0 to 300 (60).")
  var jwtLeeway: Int?

  @Option(
    help: "How many connections to PostgreSQL this server makes at most, 6 to 69 (10, or five more than --readers).")
  var connections: Int?

  @Option(help: "How many of them are for reads, which is how many run at once, 1 to 64 (5).")
  var readers: Int?

  @Option(
    help: "Prepare statements by name: on, off, or auto, which does where no pooler lies before PostgreSQL (auto).")
  var preparedStatements: String?

  @Option(help: "The permissions of Unix sockets, in octal (660).")
  var socketMode: String?

  @Flag(help: "Answer gRPC reflection, so that tools such as grpcurl know the schema.")
  var reflection = false

  @Option(help: "Close a gRPC connection after this many seconds, 1 to 86400000, gently (never).")
  var grpcMaxAge: Int?

  @Option(help: "Close a gRPC connection without calls after this many seconds, 1 to 86400000 (never).")
  var grpcMaxIdle: Int?

  @Option(help: "Ask a silent gRPC peer for a sign of life after this many seconds, 1 to 86400000 (60).")
  var grpcKeepalive: Int?

  @Option(help: "trace, debug, info, notice, warning, error or critical (info).")
  var logLevel: String?

  @Option(
    name: .customLong("config"),
    help: ArgumentHelp("A JSON file with any of these, for example {\"data\": \"/var/lib/parley\"}.", valueName: "file")
  )
  var file: String?

  /// Flags over environment over file.
  func reader() async throws -> ConfigReader {
    var flags: [AbsoluteConfigKey: ConfigValue] = [:]
    func set(_ key: AbsoluteConfigKey, _ value: String?) {
      if let value { flags[key] = ConfigValue(.string(value), isSecret: false) }
    }
    func set(_ key: AbsoluteConfigKey, _ values: [String]) {
      if !values.isEmpty { flags[key] = ConfigValue(.stringArray(values), isSecret: false) }
    }
    set(["listen"], addresses)
    set(["data"], directory)
    set(["database-url"], databaseUrl)
    set(["jwt-secret-file"], jwtSecretFile)
    set(["jwt-public-key-file"], jwtPublicKeyFiles)
    set(["jwt-issuer"], jwtIssuer)
    set(["jwt-audience"], jwtAudience)
    set(["jwt-leeway"], jwtLeeway.map(String.init))
    set(["connections"], connections.map(String.init))
    set(["readers"], readers.map(String.init))
    set(["prepared-statements"], preparedStatements)
    set(["socket-mode"], socketMode)
    set(["reflection"], reflection ? "true" : nil)
    set(["grpc-max-age"], grpcMaxAge.map(String.init))
    set(["grpc-max-idle"], grpcMaxIdle.map(String.init))
    set(["grpc-keepalive"], grpcKeepalive.map(String.init))
    set(["log-level"], logLevel)
    var providers: [any ConfigProvider] = [
      InMemoryProvider(name: "flags", values: flags),
      EnvironmentVariablesProvider().prefixKeys(with: "parley"),
    ]
    if let file = file ?? ProcessInfo.processInfo.environment["PARLEY_CONFIG"] {
      let path: [AbsoluteConfigKey: ConfigValue] = [["filePath"]: ConfigValue(.string(file), isSecret: false)]
      try check(file)
      providers.append(
        try await FileProvider<JSONSnapshot>(config: ConfigReader(provider: InMemoryProvider(values: path))))
    }
    return ConfigReader(providers: providers)
  }
}

extension ServerSettings {
  /// What a file may hold for a setting. Whatever else it holds there would be passed over without a word.
  private enum Kind: String {
    case text = "a text"
    case texts = "a text or a list of texts"
    case whole = "a whole number"
    case flag = "true or false"
    case textOrFlag = "a text, or true or false"

    func allows(_ value: JSONValue) -> Bool {
      switch (self, value) {
      case (_, .text), (.whole, .whole), (.flag, .bool), (.textOrFlag, .bool): true
      case (.texts, .list(let values)):
        values.allSatisfy { if case .text = $0 { true } else { false } }
      default: false
      }
    }
  }

  private static let kinds: [String: Kind] = [
    "listen": .texts, "data": .text, "database-url": .text, "jwt-secret-file": .text, "jwt-public-key-file": .texts,
    "jwt-issuer": .text, "jwt-audience": .text, "jwt-leeway": .whole, "connections": .whole, "readers": .whole,
    "prepared-statements": .textOrFlag, "socket-mode": .whole, "reflection": .flag, "grpc-max-age": .whole,
    "grpc-max-idle": .whole, "grpc-keepalive": .whole, "log-level": .text,
  ]

  /// A setting that nobody reads is a mistake of whoever wrote it.
  private func check(_ file: String) throws {
    guard let content = FileManager.default.contents(atPath: file) else {
      throw CommandFailure("--config \(file): not found, or it cannot be read")
    }
    guard let settings = try? JSONDecoder().decode([String: JSONValue].self, from: content) else {
      throw CommandFailure("--config \(file): is not a JSON object")
    }
    let unknown = Set(settings.keys).subtracting(Self.kinds.keys)
    guard unknown.isEmpty else {
      throw CommandFailure(
        "--config \(file): unknown settings \(unknown.sorted().joined(separator: ", ")); known are \(Self.kinds.keys.sorted().joined(separator: ", "))"
      )
    }
    for (name, value) in settings.sorted(by: { $0.key < $1.key }) {
      let kind = Self.kinds[name]!
      guard kind.allows(value) else {
        throw CommandFailure("--config \(file): \(name): is \(value.kind); allowed is \(kind.rawValue)")
      }
    }
  }
}

extension ConfigReader {
  func logger() throws -> Logger {
    let name = string(forKey: "log-level", default: "info")
    guard let level = Logger.Level(rawValue: name) else {
      throw CommandFailure(
        "log level \(name): allowed are \(Logger.Level.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
    var logger = Logger(label: "parley")
    logger.logLevel = level
    return logger
  }

  func connections() throws -> ConnectionBudget {
    let total = try count("connections", in: ConnectionBudget.least...ConnectionBudget.greatest)
    let readers = try count("readers", in: 1...64)
    guard let budget = ConnectionBudget(total: total, readers: readers) else {
      throw CommandFailure(
        "connections \(total ?? 0): are too few for \(readers ?? 0) readers beside four others at least; give more of them or fewer readers"
      )
    }
    return budget
  }

  func reflection() throws -> Bool {
    let reflection = string(forKey: "reflection") ?? bool(forKey: "reflection").map { "\($0)" } ?? "false"
    guard let isOn = Bool(reflection) else {
      throw CommandFailure("reflection \(reflection): allowed are true and false")
    }
    return isOn
  }

  func server(data: String?) throws -> ParleyServer.Configuration {
    var server = ParleyServer.Configuration(addresses: try addresses(data: data), socketMode: try socketMode())
    let seconds = 1...86_400_000
    server.grpc.ageSecondsMax = try count("grpc-max-age", in: seconds).map(Int64.init)
    server.grpc.idleSecondsMax = try count("grpc-max-idle", in: seconds).map(Int64.init)
    if let keepalive = try count("grpc-keepalive", in: seconds) { server.grpc.keepaliveSeconds = Int64(keepalive) }
    return server
  }

  private func addresses(data: String?) throws -> [Address] {
    let given = texts("listen")
    let defaults = (data.map { ["unix:\($0)/parley.sock"] } ?? []) + ["127.0.0.1:7310"]
    return try (given.isEmpty ? defaults : given).map { text in
      guard let address = Address(text) else {
        throw CommandFailure("--listen \(text): allowed is \(Address.form)")
      }
      return address
    }
  }

  /// Several texts, or one that stands alone.
  private func texts(_ key: ConfigKey) -> [String] {
    stringArray(forKey: key) ?? string(forKey: key).map { [$0] } ?? []
  }

  /// A number; nil where none is given. A file may hold it as a number or as a text.
  func count(_ key: ConfigKey, in allowed: ClosedRange<Int>) throws -> Int? {
    guard let text = string(forKey: key) ?? int(forKey: key).map(String.init) else { return nil }
    guard let value = Int(text), allowed.contains(value) else {
      throw CommandFailure("\(key) \(text): allowed is \(allowed.lowerBound) to \(allowed.upperBound)")
    }
    return value
  }

  func preparedStatements() throws -> PreparedStatements {
    let text = string(forKey: "prepared-statements") ?? bool(forKey: "prepared-statements").map { $0 ? "on" : "off" }
    guard let choice = PreparedStatements(rawValue: text ?? "auto") else {
      throw CommandFailure("prepared-statements \(text!): allowed are on, off and auto")
    }
    return choice
  }

  private func socketMode() throws -> UInt32 {
    let text = string(forKey: "socket-mode") ?? int(forKey: "socket-mode").map(String.init) ?? "660"
    guard let mode = UInt32(text, radix: 8), mode <= 0o777 else {
      throw CommandFailure("socket mode \(text): allowed are three octal digits, such as 660")
    }
    return mode
  }

  /// The keys that tokens are verified with. Without any, a folder of the server's own gets a secret.
  func keys(data: String?) throws -> [TokenVerifier.Key] {
    var keys = try givenKeys()
    if keys.isEmpty {
      guard let data else {
        throw CommandFailure(
          "no key to verify tokens with: give --jwt-secret-file or --jwt-public-key-file, or --data for a folder with a secret (there is no way to run without)"
        )
      }
      let file = SecretFile(data: data)
      if try file.makeIfAbsent() {
        say("made a secret for tokens in \(file.path); mint one with: parley token --data \(data) --tenant NAME")
      }
      keys.append(.hs256(secret: try file.secret()))
    }
    return keys
  }

  /// Of files that were named.
  func givenKeys() throws -> [TokenVerifier.Key] {
    var keys: [TokenVerifier.Key] = []
    if let file = string(forKey: "jwt-secret-file") {
      keys.append(.hs256(secret: try SecretFile(path: file).secret()))
    }
    for file in texts("jwt-public-key-file") {
      let pem = try ReadableFile(file, as: "--jwt-public-key-file \(file)").text()
      do {
        keys.append(try TokenVerifier.Key(pem: pem))
      } catch {
        throw CommandFailure("--jwt-public-key-file \(file) \(error)")
      }
    }
    return keys
  }
}
