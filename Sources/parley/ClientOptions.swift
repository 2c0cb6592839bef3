import ArgumentParser
import CommandSupport
import Core
import Foundation
import Messages
import ParleyClient
import Synchronization

/// Where the server is, and as whom to ask it.
struct ClientOptions: ParsableArguments {
  @Option(help: "The server: unix:PATH or HOST:PORT (or PARLEY_ADDRESS).")
  var address: String?

  @Option(help: "The token (or PARLEY_TOKEN). Others on this machine can see it in the process list.")
  var token: String?

  @Option(help: "A file with the token.")
  var tokenFile: String?

  @Flag(help: "Print JSON.")
  var json = false

  /// How long a command looks for a server that nobody can be connected to: one that only restarts is there
  /// again by then.
  static let readAbsenceTimeout = Duration.seconds(3)

  /// - Parameter absenceTimeout: nil: as long as a call may take, for what is to be recorded is worth the wait.
  func client(absenceTimeout: Duration? = nil) throws -> ParleyClient {
    let address = try givenAddress()
    let token = try givenToken().text
    var configuration = ParleyClient.Configuration(address: address, absenceTimeout: absenceTimeout) {
      () throws(RPCError) in token
    }
    configuration.onRetry = WaitingNotice(configuration).show
    return ParleyClient(configuration)
  }

  private func givenAddress() throws -> Address {
    guard let text = address ?? ProcessInfo.processInfo.environment["PARLEY_ADDRESS"] else {
      throw CommandFailure("no server: give --address or PARLEY_ADDRESS, \(Address.form)")
    }
    let origin = address == nil ? "PARLEY_ADDRESS" : "--address"
    guard !text.isEmpty else { throw CommandFailure("\(origin) is empty: give \(Address.form)") }
    guard let address = Address(text) else {
      let length = text.hasPrefix("unix:") ? " (this path has \(text.utf8.count - 5))" : ""
      throw CommandFailure("\(origin) \(text): give \(Address.form)\(length)")
    }
    if case .tcp(_, port: 0) = address {
      throw CommandFailure("\(origin) \(text): nobody listens on port 0; give the port that parley serve prints")
    }
    return address
  }

  func givenToken() throws -> Token {
    if let tokenFile {
      guard token == nil else { throw CommandFailure("--token and --token-file are both given: leave one of them out") }
      let name = "--token-file \(tokenFile)"
      return try Token(ReadableFile(tokenFile, as: name).text(), from: name)
    }
    if let token { return try Token(token, from: "--token") }
    if let token = ProcessInfo.processInfo.environment["PARLEY_TOKEN"] { return try Token(token, from: "PARLEY_TOKEN") }
    throw CommandFailure("no token: give --token-file, --token or PARLEY_TOKEN; parley token mints one")
  }

  /// Asks the service, and ends with its words where it refuses.
  ///
  /// - Parameter retry: how to ask again, said where it is not known whether the call was done.
  func ask<Answer: Sendable>(
    absenceTimeout: Duration? = readAbsenceTimeout, retry: String? = nil,
    _ question: (ParleyClient) async throws(RPCError) -> Answer
  ) async throws -> Answer {
    let client = try client(absenceTimeout: absenceTimeout)
    do throws(RPCError) {
      let answer = try await question(client)
      await client.close()
      return answer
    } catch {
      await client.close()
      var failure = error.forTerminal
      if let retry, [.unavailable, .deadlineExceeded].contains(error.code) { failure.description += "\n\(retry)" }
      throw failure
    }
  }
}

/// Says once, on a terminal, that a command waits for its server, and for what.
private final class WaitingNotice: Sendable {
  private let configuration: ParleyClient.Configuration
  private let isShown = Atomic<Bool>(false)

  init(_ configuration: ParleyClient.Configuration) {
    self.configuration = configuration
  }

  @Sendable func show(_ error: RPCError) {
    guard isatty(STDERR_FILENO) == 1, !isShown.exchange(true, ordering: .relaxed) else { return }
    let limit = error.reason == .connectionLost ? configuration.absenceTimeout : configuration.timeout
    LiveLine.clear()
    say("\(printable(error.message)); trying again, for \(limit.components.seconds) s at most")
  }
}
