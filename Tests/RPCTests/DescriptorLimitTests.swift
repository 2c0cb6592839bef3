import Core
import Testing

@testable import RPC

struct DescriptorLimitTests {
  @Test(arguments: [(100, nil), (128, nil), (129, 1), (256, 128), (1024, 896), (8320, 8192), (1_048_576, 8192)])
  func connectionsLeaveDescriptorsToTheRest(limit: Int, connections: Int?) {
    let limit = DescriptorLimit(atStart: limit, raised: limit, postgresConnections: 10)
    #expect(limit.connectionsMax == connections)
    #expect((limit.warning == nil) == (connections == Limits.connectionsMax))
  }

  @Test func warningNamesLimitAndRemedy() throws {
    let warning = try #require(DescriptorLimit(atStart: 256, raised: 1024, postgresConnections: 10).warning)
    #expect(["1024", "896", "8192", "8320", "ulimit"].allSatisfy(warning.contains))
  }

  @Test func limitIsRaisedAsFarAsItMay() {
    let first = DescriptorLimit.raise(postgresConnections: 10)
    let second = DescriptorLimit.raise(postgresConnections: 10)
    #expect(first.raised >= first.atStart && second.atStart == first.raised && second.raised == first.raised)
  }
}
