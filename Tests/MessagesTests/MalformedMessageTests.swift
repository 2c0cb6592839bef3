import Core
import Messages
import TestSupport
import Testing

/// Whatever bytes come, reading them ends in a message or in an error.
@Suite struct MalformedMessageTests {
  struct Kind: Sendable, CustomTestStringConvertible {
    var name: String
    var sample: @Sendable (inout SeededGenerator) -> [UInt8]
    /// Reads the bytes and, if they are a request, writes them again.
    var read: @Sendable ([UInt8]) throws -> [UInt8]?

    var testDescription: String { name }

    static func request<M: WireMessage & Request & SendableMetatype>(
      _ sample: @escaping @Sendable (inout SeededGenerator) -> M
    ) -> Kind {
      Kind(name: "\(M.self)") {
        sample(&$0).encoded()
      } read: { bytes in
        let request = try M(encoded: bytes)
        // Rules meet whatever could be read.
        _ = try? request.checked(tenant: Tenant("airline")!, now: Timestamp(milliseconds: 1_750_000_000_000))
        return request.encoded()
      }
    }

    static func answer<M: WireMessage & SendableMetatype>(_ sample: @escaping @Sendable (inout SeededGenerator) -> M)
      -> Kind
    {
      Kind(name: "\(M.self)") {
        sample(&$0).encoded()
      } read: { bytes in
        _ = try M(encoded: bytes)
        return nil
      }
    }
  }

  static let kinds = [
    Kind.request { RecordInteraction(interaction: $0.draft(), requestID: $0.text(20)) },
    .request { RecordInteractions(interactions: $0.list(4) { .success($0.draft()) }) },
    .request { ListInteractions(filter: $0.filter(), pageSize: 7, pageToken: $0.text(50), view: .full) },
    .request { GetInteraction(id: $0.id().description) },
    .request { GetStats(filter: $0.filter(), interval: .day) },
    .answer { $0.recorded() },
    .answer { $0.list(4) { Bool.random(using: &$0) ? Result.success($0.recorded()) : .failure($0.error()) } },
    .answer { InteractionPage(interactions: $0.list(3) { $0.interaction() }, nextPageToken: $0.text(20)) },
    .answer { $0.interaction() },
    .answer { $0.report() },
    Kind(name: "ttrpc.Request") {
      envelope(payload: $0.bytes(20), timeoutNanoseconds: $0.integer(.min ... .max), metadata: [("k", $0.text(9))])
    } read: {
      _ = try Envelope.call($0)
      return nil
    },
    Kind(name: "ttrpc.Response") {
      field(1, bytes: $0.error().encodedStatus()) + field(2, bytes: $0.bytes(5))
    } read: {
      _ = try Envelope.reply($0)
      return nil
    },
  ]

  @Test(arguments: kinds) func aMessageCutAnywhereIsReadOrRefused(kind: Kind) {
    var chance = SeededGenerator()
    for _ in 0..<5 {
      let whole = kind.sample(&chance)
      for length in 0..<whole.count { expectReadOrRefused(Array(whole[..<length]), kind, chance.seed) }
    }
  }

  @Test(arguments: kinds) func aMessageWithBytesChangedIsReadOrRefused(kind: Kind) {
    var chance = SeededGenerator()
    for _ in 0..<2000 {
      let bytes = kind.sample(&chance)
      expectReadOrRefused(chance.mutated(bytes), kind, chance.seed)
    }
  }

  @Test(arguments: kinds) func noiseIsReadOrRefused(kind: Kind) {
    var chance = SeededGenerator()
    for _ in 0..<1000 { expectReadOrRefused(chance.bytes(.random(in: 0...40, using: &chance)), kind, chance.seed) }
  }

  @Test(arguments: kinds) func anEndlessNestOfMessagesIsReadOrRefused(kind: Kind) {
    var nest: [UInt8] = []
    while nest.count < 2000 { nest = field(1, bytes: nest) }
    expectReadOrRefused(nest, kind, 0)
  }

  private func expectReadOrRefused(_ bytes: [UInt8], _ kind: Kind, _ seed: UInt64) {
    do {
      guard let written = try kind.read(bytes) else { return }
      // What was read is a message like any other: it is written and read again without loss.
      let again = try kind.read(written)
      #expect(again == written, "\(bytes), seed \(seed)")
    } catch let error as RPCError {
      #expect(error.code == .invalidArgument, "\(bytes), seed \(seed)")
      #expect(!error.message.isEmpty, "\(bytes), seed \(seed)")
    } catch {
      Issue.record("\(error) for \(bytes), seed \(seed)")
    }
  }
}
