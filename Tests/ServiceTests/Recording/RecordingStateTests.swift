import Core
import Postgres
import Testing

@testable import Service

@Suite struct RecordingStateTests {
  let start = ContinuousClock.now
  let failure = RPCError.databaseUnavailable(cause: "no space left on device")
  var state = RecordingState(failingMax: .seconds(10))

  @Test mutating func isBrokenWhenNothingWasWrittenForLongWhileSomeFailed() {
    state.ended(failure, at: start)
    #expect(state.fault(at: start) == nil)
    state.ended(failure, at: start + .seconds(9))
    #expect(state.fault(at: start + .milliseconds(9999)) == nil)
    #expect(state.fault(at: start + .seconds(10))?.contains("no space left on device") == true)
    state.ended(nil, at: start + .seconds(11))
    #expect(state.fault(at: start + .seconds(11)) == nil)
  }

  @Test mutating func isNotBrokenForLongerThanAnythingFails() {
    for second in 0...12 { state.ended(failure, at: start + .seconds(second)) }
    #expect(state.fault(at: start + .seconds(21)) != nil)
    #expect(state.fault(at: start + .seconds(22)) == nil)
    // The first failure after that counts with those before.
    state.ended(failure, at: start + .seconds(30))
    #expect(state.fault(at: start + .seconds(30)) != nil)
  }

  @Test mutating func failuresFarApartAreNotOne() {
    state.ended(failure, at: start)
    state.ended(failure, at: start + .seconds(100))
    #expect(state.fault(at: start + .seconds(100)) == nil)
  }

  @Test func tellsALockFromADatabaseThatCannotWrite() {
    #expect(WriteFailure(PostgresError(kind: .refused(sqlState: "55P03"), message: "canceling")).isOfALock)
    #expect(!WriteFailure(PostgresError(kind: .refused(sqlState: "53100"), message: "55P03")).isOfALock)
    #expect(WriteFailure(putOff: "it").isOfALock && !WriteFailure(RPCError.databaseUnavailable(cause: "it")).isOfALock)
  }
}
