import Core
import Messages
import Testing

/// proto/grpc/health/v1/health.proto.
@Suite struct HealthMessageTests {
  @Test func aCheckNamesAService() throws {
    #expect(
      try HealthCheck.service(inRequest: field(1, text: "parley.v1.InteractionService"))
        == MethodName.interactionService)
    #expect(try HealthCheck.service(inRequest: []) == "")
    #expect(
      violations { _ = try HealthCheck.service(inRequest: field(1, bytes: [0xff])) } == ["service: is not valid UTF-8"])
  }

  @Test(arguments: [(.serving, 1), (.notServing, 2), (.serviceUnknown, 3)] as [(HealthCheck.Status, Int64)])
  func anAnswerIsTheStatus(status: HealthCheck.Status, number: Int64) {
    #expect(HealthCheck.response(status) == field(1, varint: number))
  }

  @Test func theServerTheServiceAndTheProcessHaveAHealth() {
    #expect(HealthCheck.services == ["", "parley.v1.InteractionService", "liveness"])
  }
}
