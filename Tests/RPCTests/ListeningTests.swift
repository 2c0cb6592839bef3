import Core
import Foundation
import Glibc
import Messages
import RPC
import TestSupport
import Testing

/// Where a server listens, and what it leaves behind.
@Suite(.timeLimit(.minutes(5)))
struct ListeningTests {
  /// Serves until `body` is over, at `path`.
  private func serving(_ path: String, mode: UInt32 = 0o660, _ body: () async throws -> Void) async throws {
    let server = try await RunningServer.start([.unix(path: path)], socketMode: mode)
    do {
      try await body()
      try await server.stop()
    } catch {
      try? await server.stop()
      throw error
    }
  }

  private func listenFailure(_ addresses: [Address]) async -> String? {
    do {
      try await RunningServer.start(addresses).stop()
      return nil
    } catch {
      return (error as? ParleyServer.ListenFailure)?.description ?? "another error: \(error)"
    }
  }

  /// A call that needs no database: strangers are told so.
  private func expectAnswer(at address: Address, sourceLocation: SourceLocation = #_sourceLocation) async throws {
    let call = Call(
      service: MethodName.interactionService, method: "GetStats", metadata: .init(), timeout: nil, payload: [])
    let reply = try await RawConnection(to: address).reply(to: call)
    #expect(reply.error?.reason == .tokenMissing, sourceLocation: sourceLocation)
  }

  private func status(of path: String) -> (fileNumber: UInt64, mode: UInt32)? {
    let attributes = try? FileManager.default.attributesOfItem(atPath: path)
    guard let number = attributes?[.systemFileNumber] as? NSNumber,
      let mode = attributes?[.posixPermissions] as? NSNumber
    else { return nil }
    return (number.uint64Value, mode.uint32Value)
  }

  @Test func socketOfALiveServerIsLeftAlone() async throws {
    try await withFolder { folder in
      let path = "\(folder)/s"
      try await serving(path) {
        let before = status(of: path)?.fileNumber
        let failure = try #require(await listenFailure([.unix(path: path)]))
        #expect(failure.contains(path) && failure.contains("another server"))
        #expect(status(of: path)?.fileNumber == before)
        try await expectAnswer(at: .unix(path: path))
      }
    }
  }

  @Test func socketOfADeadServerIsReplaced() async throws {
    try await withFolder { folder in
      let path = "\(folder)/s"
      try OtherListener(at: .unix(path: path)).die()
      #expect(status(of: path) != nil)
      try await serving(path) { try await expectAnswer(at: .unix(path: path)) }
    }
  }

  /// Not taken for dead for being busy, nor waited for.
  @Test func socketOfAServerWithAFullQueueIsLeftAlone() async throws {
    try await withFolder { folder in
      let path = "\(folder)/s"
      let other = try OtherListener(at: .unix(path: path), backlog: 0)
      let waiting = try RawConnection(to: .unix(path: path))
      // Should the question wait for a response, it gets one.
      let watchdog = Task {
        try await Task.sleep(for: .seconds(60))
        other.die()
      }
      let failure = await listenFailure([.unix(path: path)])
      watchdog.cancel()
      #expect(failure?.contains("another server") == true)
      waiting.close()
    }
  }

  @Test func fileInTheWayIsLeftAlone() async throws {
    try await withFolder { folder in
      let path = "\(folder)/s"
      try "precious".write(toFile: path, atomically: false, encoding: .utf8)
      let failure = try #require(await listenFailure([.unix(path: path)]))
      #expect(failure.contains(path) && failure.contains("no socket"))
      #expect(try String(contentsOfFile: path, encoding: .utf8) == "precious")
    }
  }

  @Test func folderAndLinkInTheWayAreLeftAlone() async throws {
    try await withFolder { folder in
      mkdir("\(folder)/f", 0o700)
      #expect(await listenFailure([.unix(path: "\(folder)/f")])?.contains("no socket") == true)
      // A link, even to a dead socket.
      try OtherListener(at: .unix(path: "\(folder)/dead")).die()
      symlink("\(folder)/dead", "\(folder)/l")
      #expect(await listenFailure([.unix(path: "\(folder)/l")])?.contains("no socket") == true)
      #expect(status(of: "\(folder)/dead") != nil && status(of: "\(folder)/l") != nil)
    }
  }

  @Test func missingFolderIsNamed() async throws {
    try await withFolder { folder in
      let failure = try #require(await listenFailure([.unix(path: "\(folder)/missing/s")]))
      #expect(failure.contains("\(folder)/missing"))
    }
  }

  @Test func socketIsRemovedAtShutdown() async throws {
    try await withFolder { folder in
      let path = "\(folder)/s"
      try await serving(path) { #expect(status(of: path) != nil) }
      #expect(status(of: path) == nil)
      // Again, for nothing of the first is left.
      try await serving(path) { try await expectAnswer(at: .unix(path: path)) }
    }
  }

  @Test func whatTookTheSocketsPlaceIsNotRemoved() async throws {
    try await withFolder { folder in
      let path = "\(folder)/s"
      var successor: OtherListener?
      try await serving(path) {
        unlink(path)
        successor = try OtherListener(at: .unix(path: path))
      }
      #expect(status(of: path) != nil)
      successor?.die()
    }
  }

  @Test(arguments: [0o600, 0o660, 0o666] as [UInt32])
  func modeOfTheSocketIsApplied(mode: UInt32) async throws {
    try await withFolder { folder in
      try await serving("\(folder)/s", mode: mode) {
        #expect(status(of: "\(folder)/s")?.mode == mode)
      }
    }
  }

  @Test func portZeroBecomesARealPort() async throws {
    let server = try await RunningServer.start([.tcp(host: "127.0.0.1", port: 0)])
    guard case .tcp("127.0.0.1", let port) = server.addresses[0] else {
      Issue.record("\(server.addresses)")
      return
    }
    #expect(port > 0)
    try await expectAnswer(at: server.addresses[0])
    try await server.stop()
  }

  @Test func portInUseIsNamed() async throws {
    let other = try OtherListener(at: .tcp(host: "127.0.0.1", port: 0))
    let failure = try #require(await listenFailure([.tcp(host: "127.0.0.1", port: other.port)]))
    #expect(failure.contains("127.0.0.1:\(other.port)") && failure.lowercased().contains("in use"))
  }

  /// Before anything is made for the server, and without a trace.
  @Test func addressesAreCheckedBeforehand() throws {
    let other = try OtherListener(at: .tcp(host: "127.0.0.1", port: 0))
    let wrong = [
      ("127.0.0.1", other.port, "is in use by another program"), ("203.0.113.9", 0, "cannot be listened on"),
      ("no.such.host.invalid", 0, "leads to no address"),
    ]
    for (host, port, reason) in wrong {
      let addresses = [Address.unix(path: "/absent/s"), .tcp(host: host, port: port)]
      let failure = try #require(throws: ParleyServer.ListenFailure.self) {
        try ParleyServer.Configuration(addresses: addresses).checkAddresses()
      }
      #expect(failure.description.hasPrefix("\(host):\(port) (--listen) ") && failure.description.contains(reason))
    }
    other.die()
    let free = Address.tcp(host: "127.0.0.1", port: 0)
    try ParleyServer.Configuration(addresses: [free, free]).checkAddresses()
  }

  @Test func unknownHostIsNamed() async throws {
    let failure = try #require(await listenFailure([.tcp(host: "no.such.host.invalid", port: 0)]))
    #expect(failure.contains("no.such.host.invalid"))
  }

  @Test func addressThatFailsTakesTheOthersBack() async throws {
    try await withFolder { folder in
      let path = "\(folder)/s"
      let other = try OtherListener(at: .tcp(host: "127.0.0.1", port: 0))
      let failure = await listenFailure([.unix(path: path), .tcp(host: "127.0.0.1", port: other.port)])
      #expect(failure?.lowercased().contains("in use") == true)
      #expect(status(of: path) == nil)
    }
  }

  @Test func manyAddressesAreServedAtOnce() async throws {
    try await withFolder { folder in
      let wanted: [Address] = [
        .unix(path: "\(folder)/a"), .unix(path: "\(folder)/b"), .tcp(host: "127.0.0.1", port: 0),
        .tcp(host: "127.0.0.1", port: 0),
      ]
      let server = try await RunningServer.start(wanted)
      #expect(server.addresses.count == 4 && Set(server.addresses).count == 4)
      for address in server.addresses { try await expectAnswer(at: address) }
      try await server.stop()
    }
  }
}
