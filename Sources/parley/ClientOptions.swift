import ArgumentParser
import CommandSupport
import Domain
import Foundation
import ParleyClient
import Synchronization
import Wire

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
    let environment = ProcessInfo.processInfo.environment
    guard let text = address ?? environment["PARLEY_ADDRESS"] else {
      throw CommandFailure("no server: give --address or PARLEY_ADDRESS, \(Address.form)")
    }
    guard let address = Address(text) else {
      throw CommandFailure("the address \(text): allowed is \(Address.form)")
    }
    let token = try givenToken(environment)
    var configuration = ParleyClient.Configuration(address: address, absenceTimeout: absenceTimeout) {
      () throws(RPCError) in token
    }
    configuration.onRetry = WaitingNotice(configuration).show
    return ParleyClient(configuration)
  }

  private func givenToken(_ environment: [String: String]) throws -> String {
    let (text, name): (String, String)
    if let tokenFile {
      name = "--token-file \(tokenFile)"
      text = try ReadableFile(tokenFile, as: name).text()
    } else if let token {
      (text, name) = (token, "--token")
    } else if let token = environment["PARLEY_TOKEN"] {
      (text, name) = (token, "PARLEY_TOKEN")
    } else {
      throw CommandFailure("no token: give --token-file, --token or PARLEY_TOKEN; parley token mints one")
    }
    let token = text.trimmingCharacters(in: .whitespacesAndNewlines)
    guard !token.isEmpty else { throw CommandFailure("\(name) is empty; parley token mints a token") }
    return token
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

/// Which interactions.
struct FilterOptions: ParsableArguments {
  @Option(help: "Only of this conversation.")
  var conversation: String?

  @Option(help: "Only answered by this model.")
  var model: String?

  @Option(help: "Only of this message type.")
  var type: String?

  @Flag(inversion: .prefixedNo, help: "Only handed to a person, or only not.")
  var handoff: Bool?

  @Option(help: "Only handed over for this reason.")
  var reason: String?

  @Option(help: "Only with at least this confidence.")
  var minConfidence: Double?

  @Option(help: "Only with at most this confidence.")
  var maxConfidence: Double?

  @Option(help: "Only with an intent of this name.")
  var intent: String?

  @Option(help: "From this time on: RFC 3339, or a date (UTC).", transform: Timestamp.init(argument:))
  var from: Timestamp?

  @Option(help: "Before this time: RFC 3339, or a date (UTC).", transform: Timestamp.init(argument:))
  var to: Timestamp?

  var filter: InteractionFilter {
    var filter = InteractionFilter()
    filter.conversationID = conversation
    filter.modelUsed = model
    filter.messageType = type
    filter.handoffTriggered = handoff
    filter.handoffReason = reason
    filter.minConfidence = minConfidence
    filter.maxConfidence = maxConfidence
    filter.intent = intent
    filter.startTime = from
    filter.endTime = to
    return filter
  }
}
