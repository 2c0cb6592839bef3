import ArgumentParser
import Domain
import Foundation
import ParleyClient
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

  func client() throws -> ParleyClient {
    let environment = ProcessInfo.processInfo.environment
    guard let text = address ?? environment["PARLEY_ADDRESS"] else {
      throw CommandFailure("no server: give --address or PARLEY_ADDRESS, \(Address.form)")
    }
    guard let address = Address(text) else {
      throw CommandFailure("the address \(text): allowed is \(Address.form)")
    }
    var token = token ?? environment["PARLEY_TOKEN"]
    if let tokenFile {
      guard let content = try? String(contentsOfFile: tokenFile, encoding: .utf8) else {
        throw CommandFailure("--token-file \(tokenFile): it cannot be read")
      }
      token = content
    }
    guard let token else {
      throw CommandFailure("no token: give --token-file, --token or PARLEY_TOKEN; parley token mints one")
    }
    return ParleyClient(address: address, token: token.trimmingCharacters(in: .whitespacesAndNewlines))
  }

  /// Asks the service, and ends with its words where it refuses.
  func ask<Answer: Sendable>(
    _ question: (ParleyClient) async throws(RPCError) -> Answer
  ) async throws -> Answer {
    let client = try client()
    do throws(RPCError) {
      let answer = try await question(client)
      await client.close()
      return answer
    } catch {
      await client.close()
      throw error.forTerminal
    }
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

extension Timestamp {
  init(argument text: String) throws {
    guard let time = Timestamp(rfc3339: text) ?? Timestamp(rfc3339: text + "T00:00:00Z") else {
      throw CommandFailure("\(text): allowed is RFC 3339, such as 2026-01-31T12:00:00Z, or a date")
    }
    self = time
  }

  /// From RFC 3339; digits finer than a millisecond are dropped.
  init?(rfc3339 text: String) {
    let styles = [Date.ISO8601FormatStyle(), Date.ISO8601FormatStyle(includingFractionalSeconds: true)]
    guard let date = styles.lazy.compactMap({ try? $0.parse(text) }).first else { return nil }
    // A Date counts seconds in binary; the nudge is far below a millisecond and far above its error.
    self.init(milliseconds: Int64((date.timeIntervalSince1970 * 1000 + 0.001).rounded(.down)))
  }

  /// In UTC, to the millisecond.
  var rfc3339: String {
    let date = Date(timeIntervalSince1970: Double(milliseconds) / 1000 + 0.000_1)
    return date.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
  }
}
