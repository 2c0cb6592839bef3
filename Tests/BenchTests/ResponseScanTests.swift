import Core
import Messages
import Testing

@testable import Bench

@Suite struct ResponseScanTests {
  private let recorded = Recorded(id: InteractionID(at: .now), alreadyRecorded: false)
  private let refusal = RPCError(.alreadyExists, .fieldInvalid, "other content")

  private func data(_ reply: Reply) -> [UInt8] {
    Array(Envelope.frame(reply, stream: 1).dropFirst(FrameHeader.bytes))
  }

  private func records(
    _ operation: BenchOperation, sent: Int, _ payload: [UInt8]
  ) -> Result<Int, RPCError> {
    payload.withUnsafeBytes { ResponseScan.records(operation, sent: sent, $0) }
  }

  @Test func aPayloadIsFoundInItsEnvelope() throws {
    let payload = recorded.encoded()
    let found = try data(.success(payload)).withUnsafeBytes { Array(try ResponseScan.payload(ofResponse: $0).get()) }
    #expect(found == payload)
  }

  @Test func anErrorIsFoundInItsEnvelope() {
    let bytes = data(.failure(refusal))
    bytes.withUnsafeBytes { bytes in
      guard case .failure(let error) = ResponseScan.payload(ofResponse: bytes) else {
        Issue.record("an error counts as success")
        return
      }
      #expect(error.code == .alreadyExists && error.message == "other content")
    }
  }

  @Test func whatIsNoEnvelopeIsAnError() {
    for bytes: [UInt8] in [[0x12, 0x05, 1], [0x1a, 0x00], [0xff]] {
      #expect(throws: RPCError.self) {
        try bytes.withUnsafeBytes { try ResponseScan.payload(ofResponse: $0).get().count }
      }
    }
  }

  @Test func aBatchCountsWhenAllOfItWasRecorded() throws {
    let good: [Result<Recorded, RPCError>] = [.success(recorded), .success(recorded), .success(recorded)]
    #expect(try records(.record, sent: 3, good.encoded()).get() == 3)
    #expect(throws: RPCError.self) { try records(.record, sent: 4, good.encoded()).get() }
    let bad = good + [.failure(refusal)]
    guard case .failure(let error) = records(.record, sent: 4, bad.encoded()) else {
      Issue.record("a batch with an error counts as success")
      return
    }
    #expect(error.code == .alreadyExists && error.message.contains("1 of 4"))
  }

  @Test func aPageTellsHowMuchItHolds() throws {
    let interaction = Interaction(id: InteractionID(at: .now), content: InteractionContent())
    let page = InteractionPage(interactions: [interaction, interaction], nextPageToken: "more")
    #expect(try records(.list, sent: 0, page.encoded()).get() == 2)
    #expect(try records(.list, sent: 0, []).get() == 0)
    #expect(throws: RPCError.self) { try records(.list, sent: 0, [0x0a, 0x7f]).get() }
  }

  @Test func anEmptyAnswerToARecordIsAnError() {
    #expect(throws: RPCError.self) { try records(.record, sent: 1, []).get() }
  }
}
