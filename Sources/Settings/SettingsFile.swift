import Auth
import CommandSupport
import Foundation
import RPC

/// The file of `--config`.
enum SettingsFile {
  /// Refuses what no setting would be read from, for that is a mistake of whoever wrote it.
  static func check(_ path: String) throws {
    guard let content = FileManager.default.contents(atPath: path) else {
      throw CommandFailure("--config \(path): not found, or it cannot be read")
    }
    if case .duplicate(let name)? = TokenJSON.mistake(Array(content)) {
      throw CommandFailure("--config \(path): names \(name) twice; remove one of them")
    }
    guard let settings = try? JSONDecoder().decode([String: JSONValue].self, from: content) else {
      throw CommandFailure("--config \(path): is not a JSON object")
    }
    let known = Dictionary(uniqueKeysWithValues: ServerSettings.all.map { ($0.name, $0) })
    let unknown = Set(settings.keys).subtracting(known.keys)
    guard unknown.isEmpty else {
      throw CommandFailure(
        "--config \(path): unknown settings \(unknown.sorted().joined(separator: ", ")); known are \(known.keys.sorted().joined(separator: ", "))"
      )
    }
    for (name, value) in settings.sorted(by: { $0.key < $1.key }) {
      guard let form = known[name]?.form, !form.allows(value) else { continue }
      throw CommandFailure("--config \(path): \(name) is \(value.kind), but must be \(form.rawValue)")
    }
  }
}

extension SettingDeclaration.Form {
  fileprivate func allows(_ value: JSONValue) -> Bool {
    switch (self, value) {
    case (_, .text), (.whole, .whole), (.trueOrFalse, .bool), (.onOrOff, .bool): true
    case (.texts, .list(let values)):
      values.allSatisfy { if case .text = $0 { true } else { false } }
    default: false
    }
  }
}
