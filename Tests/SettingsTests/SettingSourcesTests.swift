import ArgumentParser
import CommandSupport
import Core
import Postgres
import Testing

@testable import Settings

@Suite struct SettingSourcesTests {
  @Test func everySettingIsTested() {
    #expect(SettingCase.all.map(\.declaration.name) == ServerSettings.all.map(\.name))
  }

  @Test(arguments: SettingCase.all)
  func settingGivenNowhereHasItsDefault(setting: SettingCase) async throws {
    let value = try await Told().sources { sources, _ in try setting.value(sources) }
    #expect(value == setting.standard)
  }

  /// Every choice of the three sources: a flag overrides the environment, and that the file.
  @Test(arguments: SettingCase.all)
  func firstSourceThatHasASettingDecides(setting: SettingCase) async throws {
    for choice in 1..<8 {
      let given = Told.Source.allCases.filter { choice & 1 << $0.rawValue != 0 }
      var told = Told()
      for source in given { told.tell(setting.texts[source.rawValue], of: setting.declaration, by: source) }
      let value = try await told.sources { sources, _ in try setting.value(sources) }
      let wanted = try setting.read(setting.texts[given[0].rawValue])
      #expect(value == wanted, "given by \(given)")
    }
  }

  @Test(arguments: SettingCase.all, Told.Source.allCases)
  func wrongValueIsRefusedWithItsSourceAndWhatIsAllowed(setting: SettingCase, source: Told.Source) async throws {
    for text in setting.wrong {
      var told = Told()
      told.tell(text, of: setting.declaration, by: source)
      try await told.sources { sources, path in
        let failure = try #require(throws: CommandFailure.self) { try setting.value(sources) }
        let (declaration, said) = (setting.declaration, failure.description)
        let origin = ["--\(declaration.name)", declaration.environmentName, "--config \(path)"][source.rawValue]
        let wanted =
          "\(declaration.name) \(text.isEmpty ? "(empty)" : text), from \(origin): give \(declaration.allowed), or remove it for the default: \(declaration.standard)"
        #expect(said == wanted)
      }
    }
  }

  @Test(arguments: SettingCase.all.filter { $0.declaration.form == .whole && $0.declaration.name != "socket-mode" })
  func whatIsNoNumberIsRefusedWithTheFlagAndItsLimits(setting: SettingCase) {
    for text in ["many", "1.5", "9223372036854775808"] {
      let declaration = setting.declaration
      do {
        _ = try ServerFlags.parse(["--\(declaration.name)=\(text)"])
        Issue.record("--\(declaration.name) \(text) is taken")
      } catch {
        let said = ServerFlags.fullMessage(for: error)
        #expect(said.contains("'\(text)' is invalid for '--\(declaration.name)"))
        #expect(said.contains(declaration.allowed))
        #expect(ServerFlags.exitCode(for: error) == .validationFailure)
      }
    }
  }

  /// A flag without a value, so a wrong one can only come from elsewhere.
  @Test(arguments: [Told.Source.environment, .file])
  func wrongReflectionIsRefused(source: Told.Source) async throws {
    for text in ["perhaps", "yes", "1", ""] {
      var told = Told()
      told.tell(text, of: ServerSettings.reflection.declaration, by: source)
      try await told.sources { sources, _ in
        let failure = try #require(throws: CommandFailure.self) { try sources.value(ServerSettings.reflection) }
        #expect(failure.description.hasPrefix("reflection \(text.isEmpty ? "(empty)" : text), from "))
        #expect(failure.description.contains("give true or false"))
      }
    }
  }

  /// No waiting mends it. The URL itself is not shown, for it may hold a password.
  @Test func urlThatLibpqCannotReadIsRefused() async throws {
    let told = Told(environment: ["PARLEY_DATABASE_URL": "host=a prot=5432 password=hidden"])
    try await told.sources { sources, _ in
      let failure = try #require(throws: CommandFailure.self) { try sources.value(ServerSettings.databaseURL) }
      #expect(
        failure.description
          == #"database-url, from PARLEY_DATABASE_URL: invalid connection option "prot"; give a URI or keywords, as libpq takes"#
      )
    }
  }

  @Test func nameOfADatabaseIsTaken() async throws {
    let url = try await Told(flags: ["--database-url=parley"]).sources { sources, _ in
      try sources.value(ServerSettings.databaseURL)
    }
    #expect(url == "parley")
  }

  @Test func emptyPathOfAFileIsRefused() async throws {
    for (flags, environment, origin) in [
      (["--config", ""], [:], "--config"), ([], ["PARLEY_CONFIG": ""], "PARLEY_CONFIG"),
    ] {
      let parsed = try ServerFlags.parse(flags)
      let failure = await #expect(throws: CommandFailure.self) {
        try await SettingSources(parsed, environment: environment)
      }
      #expect(failure?.description.hasPrefix("config (empty), from \(origin): give the path of a JSON file") == true)
    }
  }

  @Test func severalValuesAreTakenFromEverySource() async throws {
    let told = [
      Told(flags: ["--listen", "a:1", "--listen", "b:2"]), Told(environment: ["PARLEY_LISTEN": "a:1, b:2"]),
      Told(file: ["listen": ["a:1", "b:2"]]),
    ]
    for told in told {
      let addresses = try await told.sources { sources, _ in try sources.value(ServerSettings.listen) }
      #expect(addresses.map(\.description) == ["a:1", "b:2"])
    }
    let wrong = Told(file: ["listen": ["a:1", "b"]])
    try await wrong.sources { sources, path in
      let failure = try #require(throws: CommandFailure.self) { try sources.value(ServerSettings.listen) }
      #expect(failure.description.hasPrefix("listen b, from --config \(path): give unix:PATH"))
    }
  }

  @Test func fileMayHoldNumbersAndBooleans() async throws {
    let told = Told(file: ["readers": 7, "socket-mode": 600, "reflection": true, "prepared-statements": false])
    let (readers, mode, reflection, prepared) = try await told.sources { sources, _ in
      (
        try sources.value(ServerSettings.readers), try sources.value(ServerSettings.socketMode),
        try sources.value(ServerSettings.reflection), try sources.value(ServerSettings.preparedStatements)
      )
    }
    #expect(readers == 7)
    #expect(mode == 0o600)
    #expect(reflection)
    #expect(prepared == .off)
  }
}
