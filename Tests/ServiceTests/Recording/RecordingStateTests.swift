import Core
import Postgres
import Testing

@testable import Service

@Suite struct RecordingStateTests {
  let start = ContinuousClock.now
  let failure = RecordingState.Outcome.failed(cause: "no space left on device")
  let refusal = RecordingState.Outcome.refused(cause: "a trigger says no", tenants: [TenantKey(rawValue: 1)])
  let othersRefusal = RecordingState.Outcome.refused(cause: "a trigger says no", tenants: [TenantKey(rawValue: 2)])
  var state = RecordingState(failingMax: .seconds(10))

  @Test mutating func isBrokenWhenNothingWasWrittenForLongWhileSomeFailed() {
    state.ended(failure, at: start)
    #expect(state.fault(at: start) == nil)
    state.ended(failure, at: start + .seconds(9))
    #expect(state.fault(at: start + .milliseconds(9999)) == nil)
    #expect(state.fault(at: start + .seconds(10))?.contains("no space left on device") == true)
    state.ended(.written, at: start + .seconds(11))
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

  @Test mutating func isBrokenWhenEveryRowOfSeveralTenantsIsRefusedForLong() {
    state.ended(refusal, at: start)
    state.ended(othersRefusal, at: start)
    #expect(state.fault(at: start + .milliseconds(9999)) == nil)
    // A repeat of what is there says nothing of what goes in.
    state.ended(.answered, at: start + .seconds(8))
    for refusal in [refusal, othersRefusal] { state.ended(refusal, at: start + .seconds(9)) }
    #expect(state.fault(at: start + .seconds(10))?.contains("a trigger says no") == true)
    #expect(state.fault(at: start + .seconds(19)) == nil, "nothing was refused for as long")
    state.ended(refusal, at: start + .seconds(20))
    #expect(state.fault(at: start + .seconds(20)) == nil, "of one tenant")
    state.ended(othersRefusal, at: start + .seconds(20))
    #expect(state.fault(at: start + .seconds(20)) != nil)
    state.ended(.written, at: start + .seconds(21))
    #expect(state.fault(at: start + .seconds(21)) == nil)
    state.ended(refusal, at: start + .seconds(22))
    #expect(state.fault(at: start + .seconds(22)) == nil, "it begins anew")
  }

  /// A client of one tenant, whatever it sends and however often, takes the server from nobody.
  @Test mutating func isNotBrokenByTheRefusalsOfOneTenant() {
    for second in 0...100 { state.ended(refusal, at: start + .seconds(second)) }
    #expect(state.fault(at: start + .seconds(100)) == nil)
    state.ended(.written, at: start + .seconds(101))
    state.ended(othersRefusal, at: start + .seconds(102))
    state.ended(othersRefusal, at: start + .seconds(112))
    #expect(state.fault(at: start + .seconds(112)) == nil, "a row has gone in between")
  }

  /// Nor where another tenant has one row refused meanwhile.
  @Test mutating func isNotBrokenByTheRefusalsOfOneTenantAndOneOfAnother() {
    for second in 0...100 {
      state.ended(refusal, at: start + .seconds(second))
      if second == 50 { state.ended(othersRefusal, at: start + .seconds(second)) }
      #expect(state.fault(at: start + .seconds(second)) == nil)
    }
  }

  /// Also where more tenants than it keeps in mind are refused in every batch.
  @Test mutating func isBrokenWhenTheRowsOfVeryManyTenantsAreRefused() {
    for second in 0...10 {
      let tenants = Set((0..<1000).map { TenantKey(rawValue: $0) })
      state.ended(.refused(cause: "a trigger says no", tenants: tenants), at: start + .seconds(second))
    }
    #expect(state.fault(at: start + .seconds(10)) != nil)
    // Those that stop make room for others.
    for second in 25...35 {
      for refusal in [refusal, othersRefusal] { state.ended(refusal, at: start + .seconds(second)) }
    }
    #expect(state.fault(at: start + .seconds(35)) != nil)
  }

  @Test mutating func refusalsOfTenantsThatAreFarApartAreNotOne() {
    state.ended(refusal, at: start)
    state.ended(othersRefusal, at: start + .seconds(100))
    state.ended(othersRefusal, at: start + .seconds(110))
    #expect(state.fault(at: start + .seconds(110)) == nil)
  }

  @Test func tellsWhatBecameOfABatchByItsRows() {
    let rows = [1, 2, 3].map {
      RecordRow(.sample(), tenant: NumberedTenant(key: TenantKey(rawValue: $0), name: .a))
    }
    func told(_ outcomes: [BatchWriter.Outcome]) -> String {
      switch RecordingState.Outcome(outcomes, of: rows) {
      case .written?: "written"
      case .answered?: "answered"
      case .refused(_, let tenants)?: "refused to \(tenants.map(\.rawValue).sorted())"
      case .failed?: "failed"
      case nil: "nothing"
      }
    }
    let new = BatchWriter.Outcome.told(.success(Recorded(id: rows[0].id, alreadyRecorded: false)))
    let known = BatchWriter.Outcome.told(.success(Recorded(id: rows[0].id, alreadyRecorded: true)))
    let taken = BatchWriter.Outcome.told(.failure(RPCError(.alreadyExists, .interactionConflict, "")))
    let refused = BatchWriter.Outcome.told(.failure(RPCError(.invalidArgument, .interactionRefused, "")))
    let failed = BatchWriter.Outcome.failed(WriteFailure(RPCError.databaseUnavailable(cause: "")))
    let locked = BatchWriter.Outcome.failed(WriteFailure(putOff: "it"))
    #expect(told([refused, failed, new]) == "written")
    #expect(told([refused, taken, refused]) == "refused to [1, 3]")
    #expect(told([refused, failed, locked]) == "refused to [1]")
    #expect(told([known, taken, failed]) == "answered")
    #expect(told([locked, failed, locked]) == "failed")
    #expect(told([locked, locked, locked]) == "nothing")
  }

  @Test func tellsALockFromADatabaseThatCannotWrite() {
    #expect(WriteFailure(PostgresError(kind: .refused(sqlState: "55P03"), message: "canceling")).isOfALock)
    #expect(!WriteFailure(PostgresError(kind: .refused(sqlState: "53100"), message: "55P03")).isOfALock)
    #expect(WriteFailure(putOff: "it").isOfALock && !WriteFailure(RPCError.databaseUnavailable(cause: "it")).isOfALock)
  }
}
