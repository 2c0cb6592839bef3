import Auth
import CommandSupport
package import Core
package import Logging
package import Postgres
import RPC
import Service

/// Every setting of a server, each declared once.
package enum ServerSettings {
  /// In the order of the help.
  package static let all: [SettingDeclaration] = [
    listen.declaration, data.declaration, databaseURL.declaration, jwtSecretFile.declaration,
    jwtPublicKeyFiles.declaration, jwtIssuer.declaration, jwtAudience.declaration, jwtLeeway.declaration,
    connections.declaration, readers.declaration, preparedStatements.declaration, socketMode.declaration,
    reflection.declaration, grpcMaxAge.declaration, grpcMaxIdle.declaration, grpcKeepalive.declaration,
    logLevel.declaration,
  ]

  /// Where the others may be written, which a file itself cannot say.
  package static let config = Setting<String?>.text(
    "config", "file", allowed: "the path of a JSON file",
    help: "Read settings from this file, for example {\"data\": \"/var/lib/parley\"}.")

  package static let listen = Setting<[Address]>(
    SettingDeclaration(
      "listen", .texts, valueName: "address", allowed: Address.form,
      standard: "\(standardAddress), and with --data also DIR/parley.sock",
      help: "Listen on this address; may be repeated, in the environment with commas.")
  ) { Address($0) }

  package static let data = Setting<String?>.text(
    "data", "dir", allowed: "the path of a folder",
    help: "Keep the private PostgreSQL and the secret in this folder.")

  package static let databaseURL = Setting<String?>(
    SettingDeclaration(
      "database-url", valueName: "url", allowed: "a URI or keywords, as libpq takes", standard: "none",
      help: "Use this PostgreSQL instead of a private one."),
    standard: nil,
    reading: { url throws(WrongText) in
      guard !url.isEmpty else { throw WrongText(text: "") }
      if let mistake = ConnectionConfiguration.mistake(in: url) { throw WrongText(text: url, reason: mistake) }
      return url
    })

  package static let jwtSecretFile = Setting<String?>.text(
    "jwt-secret-file", "file", allowed: "a file with at least 32 bytes",
    standard: "DIR/jwt.secret, with --data and no other key",
    help: "Verify HS256 tokens with the secret in this file.")

  package static let jwtPublicKeyFiles = Setting<[String]>(
    SettingDeclaration(
      "jwt-public-key-file", .texts, valueName: "file", allowed: "a PEM file", standard: "none",
      help: "Verify RS256, ES256 or EdDSA tokens with this public key; may be repeated, in the environment with commas."
    )
  ) { $0 }

  package static let jwtIssuer = Setting<String?>.text(
    "jwt-issuer", "issuer", allowed: "a text", help: "Require this iss in tokens.")

  package static let jwtAudience = Setting<String?>.text(
    "jwt-audience", "audience", allowed: "a text", help: "Require this aud in tokens.")

  package static let jwtLeeway = Setting<Int>.whole(
    "jwt-leeway", "seconds", in: 0...300, standard: TokenVerifier.Configuration(keys: []).leewaySeconds,
    help: "Allow the token issuer's clock to differ by this many seconds.")

  package static let connections = Setting<Int?>.whole(
    "connections", "count", in: ConnectionBudget.least...ConnectionBudget.greatest,
    standard: "\(ConnectionBudget.standard.total), or five more than --readers",
    help: "Make at most this many connections to PostgreSQL.")

  package static let readers = Setting<Int?>.whole(
    "readers", "count", in: 1...64,
    standard: "\(ConnectionBudget.standard.readers), or what --connections leaves",
    help: "Use this many of the connections for reads, so that as many reads run at once.")

  package static let preparedStatements = Setting<PreparedStatements>(
    SettingDeclaration(
      "prepared-statements", .onOrOff, valueName: "choice", allowed: "one of on, off and auto",
      standard: "auto, which is off behind a pooler", help: "Prepare SQL statements by name."),
    standard: .auto
  ) { PreparedStatements(rawValue: $0) }

  package static let socketMode = Setting<UInt32>(
    SettingDeclaration(
      "socket-mode", .whole, valueName: "mode", allowed: "three octal digits, up to 777",
      standard: String(server.socketMode, radix: 8), help: "The permissions of Unix sockets."),
    standard: server.socketMode
  ) { UInt32($0, radix: 8).flatMap { $0 <= 0o777 ? $0 : nil } }

  package static let reflection = Setting<Bool>(
    SettingDeclaration(
      "reflection", .trueOrFalse, valueName: "choice", allowed: "true or false", standard: "false",
      help: "Serve gRPC reflection, so that tools such as grpcurl know the schema."),
    standard: false
  ) { Bool($0) }

  package static let grpcMaxAge = Setting<Int?>.whole(
    "grpc-max-age", "seconds", in: seconds, standard: "never",
    help: "Close a gRPC connection gracefully after this many seconds.")

  package static let grpcMaxIdle = Setting<Int?>.whole(
    "grpc-max-idle", "seconds", in: seconds, standard: "never",
    help: "Close a gRPC connection gracefully after this many seconds without calls.")

  package static let grpcKeepalive = Setting<Int>.whole(
    "grpc-keepalive", "seconds", in: seconds, standard: Int(server.grpc.keepaliveSeconds),
    help: "Send a keepalive ping to a gRPC peer that has sent nothing for this many seconds.")

  package static let logLevel = Setting<Logger.Level>(
    SettingDeclaration(
      "log-level", valueName: "level",
      allowed: "one of \(Logger.Level.allCases.map(\.rawValue).joined(separator: ", "))", standard: "info",
      help: "Log messages of this level and of higher ones."),
    standard: .info
  ) { Logger.Level(rawValue: $0) }

  /// Where a server listens that was not told.
  package static func standardAddresses(data: String?) throws -> [Address] {
    try ((data.map { ["unix:\($0)/parley.sock"] } ?? []) + [standardAddress]).map { text in
      guard let address = Address(text) else {
        throw CommandFailure("\(text): give \(Address.form) with --listen, or a folder with a shorter path")
      }
      return address
    }
  }

  private static let standardAddress = "127.0.0.1:7310"
  private static let seconds = 1...86_400_000
  private static let server = ParleyServer.Configuration(addresses: [])
}
