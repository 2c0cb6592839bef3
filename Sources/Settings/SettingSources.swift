import CommandSupport
import Configuration
import Foundation

/// What a server was told, from flags, then the environment (`PARLEY_…`), then a JSON file.
package struct SettingSources: Sendable {
  private enum Origin {
    case flags
    case environment
    case file(String)
  }

  /// The first that has a setting decides.
  private let sources: [(Origin, ConfigReader)]

  package init(_ flags: ServerFlags, environment: [String: String]) async throws {
    let given = flags.given.map { setting, texts in
      let content: ConfigContent = setting.form == .texts ? .stringArray(texts) : .string(texts[0])
      return (AbsoluteConfigKey([setting.name]), ConfigValue(content, isSecret: false))
    }
    var sources: [(Origin, ConfigReader)] = [
      (.flags, ConfigReader(provider: InMemoryProvider(values: Dictionary(uniqueKeysWithValues: given)))),
      (
        .environment,
        ConfigReader(
          provider: EnvironmentVariablesProvider(environmentVariables: environment).prefixKeys(with: "parley"))
      ),
    ]
    if let path = flags.config ?? environment[ServerSettings.config.declaration.environmentName] {
      guard !path.isEmpty else {
        let origin = flags.config == nil ? ServerSettings.config.declaration.environmentName : "--config"
        throw CommandFailure(ServerSettings.config.declaration.mistake(WrongText(text: ""), from: origin))
      }
      try SettingsFile.check(path)
      let values: [AbsoluteConfigKey: ConfigValue] = [["filePath"]: ConfigValue(.string(path), isSecret: false)]
      let file = try await FileProvider<JSONSnapshot>(
        config: ConfigReader(provider: InMemoryProvider(values: values)))
      sources.append((.file(path), ConfigReader(provider: file)))
    }
    self.sources = sources
  }

  /// What the setting is, by default where it is given nowhere.
  package func value<Value>(_ setting: Setting<Value>) throws -> Value {
    let declaration = setting.declaration
    for (origin, reader) in sources {
      guard let texts = reader.texts(declaration) else { continue }
      do throws(WrongText) {
        return try setting.read(texts)
      } catch {
        throw CommandFailure(declaration.mistake(error, from: name(origin, declaration)))
      }
    }
    return setting.standard
  }

  private func name(_ origin: Origin, _ declaration: SettingDeclaration) -> String {
    switch origin {
    case .flags: "--\(declaration.name)"
    case .environment: declaration.environmentName
    case .file(let path): "--config \(path)"
    }
  }
}

extension ConfigReader {
  /// What this one source has for a setting, as texts; nil where it has nothing.
  fileprivate func texts(_ declaration: SettingDeclaration) -> [String]? {
    let key = ConfigKey([declaration.name])
    if declaration.form == .texts, let texts = stringArray(forKey: key) { return texts }
    if let text = string(forKey: key) { return [text] }
    switch declaration.form {
    case .text, .texts: return nil
    case .whole: return int(forKey: key).map { ["\($0)"] }
    case .trueOrFalse: return bool(forKey: key).map { ["\($0)"] }
    case .onOrOff: return bool(forKey: key).map { [$0 ? "on" : "off"] }
    }
  }
}
