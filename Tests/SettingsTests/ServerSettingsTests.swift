import ArgumentParser
import Foundation
import Testing

@testable import Settings

/// What is told about settings beside the declarations is complete.
@Suite struct ServerSettingsTests {
  private static let declarations = ServerSettings.all + [ServerSettings.config.declaration]

  @Test func namesAreUnique() {
    #expect(Set(Self.declarations.map(\.name)).count == Self.declarations.count)
  }

  @Test func everySettingHasItsFlagAndEveryFlagItsSetting() {
    let flags = ServerFlags.helpMessage(columns: 1000).matches(of: /\n  (?:-\w, )?--(?<name>[-a-z]+)/)
      .map { String($0.output.name) }
    #expect(flags == Self.declarations.map(\.name) + ["help"])
  }

  @Test func helpTellsWhatIsAllowedTheDefaultAndTheEnvironmentVariable() {
    let help = ServerFlags.helpMessage(columns: 1000)
    for setting in Self.declarations {
      let wanted = "\(setting.help) (\(setting.allowed); default: \(setting.standard); \(setting.environmentName))"
      #expect(help.contains(wanted))
    }
  }

  @Test func readmesTableIsOfTheDeclarations() throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(path: "../..").standardizedFileURL
    let readme = try String(contentsOf: root.appending(path: "README.md"), encoding: .utf8)
    let rows = Self.declarations.map { setting in
      let value = setting.form == .trueOrFalse ? "" : " \(setting.valueName.uppercased())"
      return
        "| `--\(setting.name)\(value)` | `\(setting.environmentName)` | \(setting.help) | \(setting.allowed) | \(setting.standard) |\n"
    }
    let table = "| flag | environment | what it does | allowed | default |\n|---|---|---|---|---|\n" + rows.joined()
    #expect(readme.contains(table + "\n"), "README.md should have this table:\n\(table)")
  }
}
