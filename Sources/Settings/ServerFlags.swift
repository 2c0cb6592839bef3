import ArgumentParser

/// The command line of a server: a property for each setting, which the declaration names and explains.
package struct ServerFlags: ParsableArguments {
  @Option(name: ServerSettings.listen.flag, help: ServerSettings.listen.help)
  var listen: [String] = []

  @Option(name: ServerSettings.data.flag, help: ServerSettings.data.help)
  var data: String?

  @Option(name: ServerSettings.databaseURL.flag, help: ServerSettings.databaseURL.help)
  var databaseURL: String?

  @Option(name: ServerSettings.jwtSecretFile.flag, help: ServerSettings.jwtSecretFile.help)
  var jwtSecretFile: String?

  @Option(name: ServerSettings.jwtPublicKeyFiles.flag, help: ServerSettings.jwtPublicKeyFiles.help)
  var jwtPublicKeyFiles: [String] = []

  @Option(name: ServerSettings.jwtIssuer.flag, help: ServerSettings.jwtIssuer.help)
  var jwtIssuer: String?

  @Option(name: ServerSettings.jwtAudience.flag, help: ServerSettings.jwtAudience.help)
  var jwtAudience: String?

  @Option(name: ServerSettings.jwtLeeway.flag, parsing: .unconditional, help: ServerSettings.jwtLeeway.help)
  var jwtLeeway: Int?

  @Option(name: ServerSettings.connections.flag, parsing: .unconditional, help: ServerSettings.connections.help)
  var connections: Int?

  @Option(name: ServerSettings.readers.flag, parsing: .unconditional, help: ServerSettings.readers.help)
  var readers: Int?

  @Option(name: ServerSettings.preparedStatements.flag, help: ServerSettings.preparedStatements.help)
  var preparedStatements: String?

  @Option(name: ServerSettings.socketMode.flag, help: ServerSettings.socketMode.help)
  var socketMode: String?

  @Flag(name: ServerSettings.reflection.flag, help: ServerSettings.reflection.help)
  var reflection = false

  @Option(name: ServerSettings.grpcMaxAge.flag, parsing: .unconditional, help: ServerSettings.grpcMaxAge.help)
  var grpcMaxAge: Int?

  @Option(name: ServerSettings.grpcMaxIdle.flag, parsing: .unconditional, help: ServerSettings.grpcMaxIdle.help)
  var grpcMaxIdle: Int?

  @Option(name: ServerSettings.grpcKeepalive.flag, parsing: .unconditional, help: ServerSettings.grpcKeepalive.help)
  var grpcKeepalive: Int?

  @Option(name: ServerSettings.logLevel.flag, help: ServerSettings.logLevel.help)
  var logLevel: String?

  @Option(name: ServerSettings.config.flag, help: ServerSettings.config.help)
  var config: String?

  package init() {}

  /// The settings that were given, with their texts.
  var given: [(SettingDeclaration, [String])] {
    var given: [(SettingDeclaration, [String])] = []
    func take<Value>(_ setting: Setting<Value>, _ texts: [String]) {
      if !texts.isEmpty { given.append((setting.declaration, texts)) }
    }
    func take<Value>(_ setting: Setting<Value>, _ text: (some CustomStringConvertible)?) {
      take(setting, text.map { [$0.description] } ?? [])
    }
    take(ServerSettings.listen, listen)
    take(ServerSettings.data, data)
    take(ServerSettings.databaseURL, databaseURL)
    take(ServerSettings.jwtSecretFile, jwtSecretFile)
    take(ServerSettings.jwtPublicKeyFiles, jwtPublicKeyFiles)
    take(ServerSettings.jwtIssuer, jwtIssuer)
    take(ServerSettings.jwtAudience, jwtAudience)
    take(ServerSettings.jwtLeeway, jwtLeeway)
    take(ServerSettings.connections, connections)
    take(ServerSettings.readers, readers)
    take(ServerSettings.preparedStatements, preparedStatements)
    take(ServerSettings.socketMode, socketMode)
    take(ServerSettings.reflection, reflection ? "true" : nil)
    take(ServerSettings.grpcMaxAge, grpcMaxAge)
    take(ServerSettings.grpcMaxIdle, grpcMaxIdle)
    take(ServerSettings.grpcKeepalive, grpcKeepalive)
    take(ServerSettings.logLevel, logLevel)
    return given
  }
}
