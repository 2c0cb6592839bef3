import Glibc
import Testing

@testable import RPC

@Suite struct LargeRequestsTests {
  @Test func threadOfLargeRequestsComesBehindTheEventLoops() async {
    let requests = LargeRequests()
    let niceness = await withCheckedContinuation { continuation in
      requests.add(of: LargeRequests.Lane()) {
        continuation.resume(returning: getpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0))
      }
    }
    #expect(niceness == LargeRequests.niceness)
  }
}
