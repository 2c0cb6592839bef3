import Core
import Testing

@testable import RPC

struct TenantObjectsTests {
  private final class Object {}

  private func tenant(_ number: Int) throws -> Tenant { try #require(Tenant("tenant-\(number)")) }

  @Test func objectIsTheSameForAsLongAsItIsKept() throws {
    var objects = TenantObjects<Object>()
    let kept = objects.object(of: try tenant(0)) { Object() }
    for number in 1..<1000 { _ = objects.object(of: try tenant(number)) { Object() } }
    #expect(objects.object(of: try tenant(0)) { Object() } === kept)
  }

  @Test func objectsThatNobodyKeepsAreForgotten() throws {
    var objects = TenantObjects<Object>()
    for number in 0..<1000 {
      _ = objects.object(of: try tenant(number)) { Object() }
      #expect(objects.count <= 64)
    }
    // As many again as are kept may wait to be forgotten.
    var kept: [Object] = []
    for number in 0..<300 { kept.append(objects.object(of: try tenant(number)) { Object() }) }
    for number in 1000..<5000 {
      _ = objects.object(of: try tenant(number)) { Object() }
      #expect((300...600).contains(objects.count))
    }
    #expect(try kept.indices.allSatisfy { try objects.object(of: tenant($0)) { Object() } === kept[$0] })
  }
}
