import Core
import Foundation
import Testing

@testable import Auth
@testable import RPC

@Suite struct VerifiedTokensTests {
  private func token(of tenant: String) -> VerifiedTokens.Token {
    .init(claims: Claims(tenant: Tenant(tenant)!, scopes: []), end: .distantFuture)
  }

  @Test func tokensAreFoundByAllTheirBytes() {
    let tokens = VerifiedTokens(countMax: 1024)
    let end = String(repeating: "x", count: 100)
    for number in 0..<16 { tokens["\(number) \(end)"] = token(of: "\(number)") }
    for number in 0..<16 { #expect(tokens["\(number) \(end)"]?.claims.tenant == Tenant("\(number)")) }
    #expect(tokens["100 \(end)"] == nil && tokens[end] == nil && tokens[""] == nil)
    // One in Unicode's eyes, and two tokens.
    tokens["K"] = token(of: "kelvin")
    #expect(tokens["\u{212A}"] == nil)
  }

  @Test func tokensAreBounded() {
    let tokens = VerifiedTokens(countMax: 64, parts: 4)
    for number in 0..<1000 { tokens["token \(number)"] = token(of: "a") }
    let kept = (0..<1000).count { tokens["token \($0)"] != nil }
    #expect((4...64).contains(kept))
  }
}

@Suite(.timeLimit(.minutes(5))) struct SignatureChecksTests {
  @Test func checksThatWaitAreBounded() async throws {
    let checks = SignatureChecks(waitingMax: 2)
    let gate = DispatchSemaphore(value: 0)
    let first = Task {
      try await checks.run {
        gate.wait()
        return true
      }
    }
    let second = Task { try await checks.run { false } }
    while checks.count < 2 { await Task.yield() }
    let error = await #expect(throws: RPCError.self) { _ = try await checks.run { true } }
    #expect(error?.reason == .overloaded && error?.retryAfter != nil)
    gate.signal()
    #expect(try await first.value)
    #expect(try await !second.value)
    #expect(try await checks.run { true })
  }
}
