import CommandSupport
import Core
import Crypto
import Foundation
import Messages
import ParleyClient

/// Sends a file's lines in batches, a few of them at once.
struct Importer {
  private typealias Line = (number: Int, draft: InteractionDraft)

  private static let batchLinesMax = 500
  private static let batchBytesMax = 1 << 20
  private static let batchesAtOnce = 4

  let client: ParleyClient
  /// The tenant that everything is recorded for, where the token can be read.
  let tokenTenant: String?
  let onlyTenant: String?
  let progress: ImportProgress
  /// How often each content was seen: equal lines are as many interactions.
  private var seen: [InteractionID: Int] = [:]

  init(client: ParleyClient, tokenTenant: String?, onlyTenant: String?, progress: ImportProgress) {
    self.client = client
    self.tokenTenant = tokenTenant
    self.onlyTenant = onlyTenant
    self.progress = progress
  }

  mutating func run(_ lines: LineReader) async throws {
    var bar = ProgressBar(total: lines.bytesTotal)
    defer { LiveLine.clear() }
    try await withThrowingTaskGroup(of: ([Line], [Result<Recorded, RPCError>]).self) { group in
      var batch: [Line] = []
      var (batchBytes, running) = (0, 0)
      func send() async throws {
        guard !batch.isEmpty else { return }
        if running == Self.batchesAtOnce, let done = try await group.next() {
          running -= 1
          count(done)
        }
        let (client, sent) = (client, batch)
        group.addTask { (sent, try await Self.record(sent.map(\.draft), client)) }
        running += 1
        (batch, batchBytes) = ([], 0)
      }
      while let (number, text) = try lines.next() {
        bar.show(lines.bytesRead)
        progress.countLine()
        guard let draft = parse(text, number) else { continue }
        let bytes = text.count
        if batch.count == Self.batchLinesMax || batchBytes + bytes > Self.batchBytesMax { try await send() }
        batch.append((number, draft))
        batchBytes += bytes
      }
      try await send()
      for try await done in group { count(done) }
    }
  }

  /// Records them all. A server that is busy says so, and is asked again for as long as it does; what it could not
  /// keep for the moment is sent again.
  private static func record(
    _ drafts: [InteractionDraft], _ client: ParleyClient
  ) async throws(RPCError) -> [Result<Recorded, RPCError>] {
    var results = try await recordPatiently(drafts, client)
    for attempt in 0... {
      let open = results.indices.filter { index in
        if case .failure(let error) = results[index] { error.mayPass } else { false }
      }
      guard let first = open.first else { break }
      if attempt == triesOfALineMax, case .failure(let error) = results[first] { throw error }
      guard (try? await Task.sleep(for: .milliseconds(min(50 << attempt, 2000)))) != nil else { throw .cancelled }
      for (index, result) in zip(open, try await recordPatiently(open.map { drafts[$0] }, client)) {
        results[index] = result
      }
    }
    return results
  }

  private static let triesOfALineMax = 20

  private static func recordPatiently(
    _ drafts: [InteractionDraft], _ client: ParleyClient
  ) async throws(RPCError) -> [Result<Recorded, RPCError>] {
    while true {
      do throws(RPCError) {
        return try await client.record(drafts)
      } catch {
        guard error.reason == .overloaded, !Task.isCancelled else { throw error }
      }
    }
  }

  /// The line's interaction, with its id; nil when it is bad or not wanted.
  private mutating func parse(_ text: Data, _ number: Int) -> InteractionDraft? {
    do throws(JSONFields.Failure) {
      var (draft, tenant, unknown) = try InteractionDraft.read(text)
      progress.count { $0.unknownFields.formUnion(unknown) }
      if let onlyTenant, tenant?.isExactly(onlyTenant) != true {
        progress.count { $0.otherTenants += 1 }
        return nil
      }
      if onlyTenant == nil, let tenant { try checkTenant(tenant) }
      if draft.id.isEmpty { draft.id = try contentID(&draft).description }
      try check(draft)
      return draft
    } catch {
      bad(number, error.description)
      return nil
    }
  }

  /// Nobody's interaction becomes another tenant's because a file holds several.
  private func checkTenant(_ tenant: String) throws(JSONFields.Failure) {
    guard let tokenTenant, !tenant.isExactly(tokenTenant) else { return }
    throw JSONFields.Failure(
      "tenant: is \(tenant.prefix(128)), and the token is \(tokenTenant)'s; import the lines of one tenant with --only-tenant NAME and that tenant's token"
    )
  }

  /// The service's own rules, before it is asked: a line too large to be sent at all is a bad line.
  private func check(_ draft: InteractionDraft) throws(JSONFields.Failure) {
    do {
      _ = try RecordInteraction(interaction: draft).checked(now: .now)
    } catch {
      throw JSONFields.Failure(error.message.replacingOccurrences(of: "interaction.", with: ""))
    }
  }

  private mutating func contentID(_ draft: inout InteractionDraft) throws(JSONFields.Failure) -> InteractionID {
    guard let time = draft.createdAt, time.milliseconds >= 0 else {
      throw JSONFields.Failure("created_at: is missing or before 1970; a line needs it, or an id")
    }
    let digest = SHA256.hash(data: RecordInteraction(interaction: draft).encoded())
    let text = digest.map { String($0, radix: 16) }.joined(separator: ".")
    let first = InteractionID(at: time, requestID: "import \(text)")
    let repeats = seen[first, default: 0]
    seen[first] = repeats + 1
    return repeats == 0 ? first : InteractionID(at: time, requestID: "import \(text) \(repeats)")
  }

  private func count(_ done: (lines: [Line], results: [Result<Recorded, RPCError>])) {
    for (index, (line, result)) in zip(done.lines, done.results).enumerated() {
      switch result {
      case .success(let recorded):
        progress.count { if recorded.alreadyRecorded { $0.alreadyRecorded += 1 } else { $0.imported += 1 } }
      case .failure(let error):
        bad(line.number, error.message.replacingOccurrences(of: "interactions[\(index)].", with: ""))
      }
    }
  }

  private func bad(_ number: Int, _ reason: String) {
    progress.count { $0.bad += 1 }
    LiveLine.clear()
    say("line \(number): \(printable(reason))")
  }
}

extension RPCError {
  /// The interaction may be recorded the next time, with the same id.
  fileprivate var mayPass: Bool {
    code == .unavailable || code == .deadlineExceeded || (code == .resourceExhausted && retryAfter != nil)
  }
}
