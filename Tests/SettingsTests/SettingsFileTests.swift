import ArgumentParser
import CommandSupport
import Foundation
import Testing

@testable import Settings

@Suite struct SettingsFileTests {
  @Test func fileIsNamedByTheFlagBeforeTheEnvironment() async throws {
    try await withTemporaryFile(Data(#"{"readers": 7}"#.utf8)) { path in
      let byEnvironment = try await SettingSources(.parse([]), environment: ["PARLEY_CONFIG": path])
      #expect(try byEnvironment.value(ServerSettings.readers) == 7)
      let byBoth = try await SettingSources(
        .parse(["--config", path]), environment: ["PARLEY_CONFIG": "/absent.json"])
      #expect(try byBoth.value(ServerSettings.readers) == 7)
    }
  }

  @Test(arguments: [
    (#"{"reader": 5}"#, "unknown settings reader; known are connections, data, "),
    (#"{"config": "x"}"#, "unknown settings config; known are "),
    (#"[]"#, "is not a JSON object"), (#"{"readers": "#, "is not a JSON object"), ("", "is not a JSON object"),
    (#"{"jwt-issuer": 5}"#, "jwt-issuer is a number, but must be a text"),
    (#"{"jwt-issuer": null}"#, "jwt-issuer is null, but must be a text"),
    (#"{"listen": [5]}"#, "listen is a list, but must be a text or a list of texts"),
    (#"{"readers": 5.5}"#, "readers is a number, but must be a whole number"),
    (#"{"readers": true}"#, "readers is a boolean, but must be a whole number"),
    (#"{"reflection": 1}"#, "reflection is a number, but must be true or false"),
    (#"{"readers": 5, "readers": 6}"#, "names readers twice"),
    (#"{"prepared-statements": {}}"#, "prepared-statements is an object, but must be a text, or true or false"),
  ])
  func whatNoSettingIsReadFromIsRefused(content: String, reason: String) async throws {
    try await withTemporaryFile(Data(content.utf8)) { path in
      let failure = try #require(throws: CommandFailure.self) { try SettingsFile.check(path) }
      #expect(failure.description.hasPrefix("--config \(path): \(reason)"))
    }
  }

  @Test func absentFileIsRefused() throws {
    let failure = try #require(throws: CommandFailure.self) { try SettingsFile.check("/absent/parley.json") }
    #expect(failure.description == "--config /absent/parley.json: not found, or it cannot be read")
  }
}
