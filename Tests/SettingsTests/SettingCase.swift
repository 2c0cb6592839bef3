import ArgumentParser
import Foundation
import Testing

@testable import Settings

/// A setting with texts to give it.
struct SettingCase: Sendable, CustomTestStringConvertible {
  var declaration: SettingDeclaration
  /// Of the flag, the environment and the file, in this order.
  var texts: [String]
  /// Not allowed, whichever source they come from.
  var wrong: [String]
  /// What the setting is when it is given nowhere.
  var standard: String
  /// What sources make of the setting.
  var value: @Sendable (SettingSources) throws -> String
  /// What the setting makes of a text.
  var read: @Sendable (String) throws -> String

  init<Value>(
    _ setting: Setting<Value>, _ flag: String, _ environment: String, _ file: String, wrong: [String] = [],
    standard: String
  ) {
    declaration = setting.declaration
    texts = [flag, environment, file]
    self.wrong = wrong
    self.standard = standard
    value = { "\(try $0.value(setting))" }
    read = { "\(try setting.read([$0]))" }
  }

  var testDescription: String { declaration.name }

  /// One for each setting.
  static let all = [
    SettingCase(
      ServerSettings.listen, "unix:/a", "localhost:80", "[::1]:90", wrong: ["nonsense", "::1:80", "unix:"],
      standard: "[]"),
    SettingCase(ServerSettings.data, "/a", "/b", "/c", wrong: [""], standard: "nil"),
    SettingCase(ServerSettings.databaseURL, "host=a", "host=b,c", "postgres:///d", wrong: [""], standard: "nil"),
    SettingCase(ServerSettings.jwtSecretFile, "/a", "/b", "/c", wrong: [""], standard: "nil"),
    SettingCase(ServerSettings.jwtPublicKeyFiles, "/a", "/b", "/c", standard: "[]"),
    SettingCase(ServerSettings.jwtIssuer, "a", "b", "c", wrong: [""], standard: "nil"),
    SettingCase(ServerSettings.jwtAudience, "a", "b", "c", wrong: [""], standard: "nil"),
    SettingCase(ServerSettings.jwtLeeway, "0", "300", "5", wrong: ["-1", "301"], standard: "60"),
    SettingCase(ServerSettings.connections, "6", "69", "20", wrong: ["5", "70"], standard: "nil"),
    SettingCase(ServerSettings.readers, "1", "64", "20", wrong: ["0", "65"], standard: "nil"),
    SettingCase(ServerSettings.preparedStatements, "on", "off", "auto", wrong: ["maybe", "true"], standard: "auto"),
    SettingCase(
      ServerSettings.socketMode, "600", "0777", "7", wrong: ["778", "1777", "rw"], standard: "\(0o660)"),
    SettingCase(ServerSettings.reflection, "true", "false", "true", standard: "false"),
    SettingCase(ServerSettings.grpcMaxAge, "1", "86400000", "3", wrong: ["0", "86400001"], standard: "nil"),
    SettingCase(ServerSettings.grpcMaxIdle, "1", "86400000", "3", wrong: ["0", "86400001"], standard: "nil"),
    SettingCase(ServerSettings.grpcKeepalive, "1", "86400000", "3", wrong: ["0", "86400001"], standard: "60"),
    SettingCase(ServerSettings.logLevel, "trace", "error", "critical", wrong: ["loud", "INFO"], standard: "info"),
  ]
}

/// What a server is told in a test, with a file that is removed afterwards.
struct Told {
  var flags: [String] = []
  var environment: [String: String] = [:]
  var file: [String: any Sendable]?

  enum Source: Int, CaseIterable { case flag, environment, file }

  mutating func tell(_ text: String, of setting: SettingDeclaration, by source: Source) {
    switch source {
    case .flag where setting.form == .trueOrFalse: flags.append("--\(setting.name)")
    // An empty text after a sign is none to the parser.
    case .flag where text.isEmpty: flags += ["--\(setting.name)", text]
    case .flag: flags.append("--\(setting.name)=\(text)")
    case .environment: environment[setting.environmentName] = text
    case .file: file = [setting.name: text]
    }
  }

  /// - Parameter use: gets the sources, and the file's path.
  func sources<Result>(_ use: (SettingSources, String) throws -> Result) async throws -> Result {
    try await withFile { path in
      let flags = try ServerFlags.parse(flags + (file == nil ? [] : ["--config", path]))
      return try use(try await SettingSources(flags, environment: environment), path)
    }
  }

  private func withFile<Result>(_ use: (String) async throws -> Result) async throws -> Result {
    try await withTemporaryFile(file.map { try JSONSerialization.data(withJSONObject: $0) } ?? Data(), use)
  }
}

func withTemporaryFile<Result>(_ content: Data, _ use: (String) async throws -> Result) async throws -> Result {
  let path = "\(FileManager.default.temporaryDirectory.path)/settings-\(UUID().uuidString).json"
  defer { try? FileManager.default.removeItem(atPath: path) }
  try content.write(to: URL(fileURLWithPath: path))
  return try await use(path)
}
