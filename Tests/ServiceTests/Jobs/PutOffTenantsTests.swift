import Core
import Postgres
import TestSupport
import Testing

@testable import Service

@Suite struct PutOffTenantsTests {
  private let clock = ManualClock()
  private let putOff: PutOffTenants
  private let tenant = TenantKey(rawValue: 7)

  init() { putOff = PutOffTenants(clock: JobClock(clock), logger: .silent) }

  private func attempt(_ sqlState: String?) throws(PostgresError) -> Int? {
    try putOff.attempt(tenant) { () throws(PostgresError) in
      if let sqlState { throw PostgresError(kind: .refused(sqlState: sqlState), message: "refused") }
      return 1
    }
  }

  @Test func aTenantIsPutOffForAGrowingWhile() throws {
    #expect(try attempt("55P03") == nil)
    #expect(putOff.tenants == [tenant])
    clock.advance(by: .seconds(1))
    #expect(putOff.tenants == [], "a second at most")
    #expect(putOff.contains(tenant))
    for _ in 0..<10 { #expect(try attempt("55P03") == nil) }
    clock.advance(by: .seconds(29))
    #expect(putOff.tenants == [tenant], "half a minute at least")
    clock.advance(by: .seconds(31))
    #expect(putOff.tenants == [])
    #expect(try attempt(nil) == 1)
    #expect(!putOff.contains(tenant))
    #expect(try attempt("55P03") == nil)
    clock.advance(by: .seconds(1))
    #expect(putOff.tenants == [], "it begins with a short one again")
  }

  @Test(arguments: ["57P01", "53300", "42P01", "58030"]) func theServersTroubleIsNoTenants(sqlState: String) {
    #expect(throws: PostgresError.self) { try attempt(sqlState) }
    #expect(putOff.tenants == [])
  }

  @Test func theirNumberIsBounded() {
    for key in 0...Int32(Limits.tenantsPutOffMax) { putOff.putOff(TenantKey(rawValue: key)) }
    #expect(putOff.tenants.count == Limits.tenantsPutOffMax)
  }
}
