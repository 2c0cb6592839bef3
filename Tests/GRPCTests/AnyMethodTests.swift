import Auth
import Core
import Foundation
import Logging
import Messages
import NIOCore
import RPC
import ServiceLifecycle
import TestSupport
import Testing

/// A service of the test's own, of one unary method and of streams of every kind: what a feature has to write, and no
/// more. Every protocol calls them.
private struct Sums: Sendable {
  static let service = "sums.v1.Sums"

  var methods: [Method] {
    [
      // One text in, its length out; for callers who may record.
      Method(
        name("Length"), scope: .record,
        .unary { context, message, completion in
          guard context.claims?.tenant == Tenant("acme") else {
            completion.complete(.failure(.cancelled))
            return {}
          }
          completion.complete(.success(Response([UInt8(message.bytes.count)])))
          return {}
        }),
      // Numbers in, each sum so far out.
      Method(
        name("Running"), scope: .record,
        .streaming(.both) { _, requests, responses in
          await answer { () throws(RPCError) in
            var sum: UInt8 = 0
            while let message = try await requests.next() {
              sum += message.bytes.reduce(0, +)
              try await responses.send([sum])
            }
          }
        }),
      // Numbers in, their sum out.
      Method(
        name("Total"), scope: nil,
        .streaming(.requests) { _, requests, responses in
          await answer { () throws(RPCError) in
            var sum: UInt8 = 0
            while let message = try await requests.next() { sum += message.bytes.reduce(0, +) }
            try await responses.send([sum])
          }
        }),
      // A number in, all up to it out.
      Method(
        name("Count"), scope: nil,
        .streaming(.responses) { _, requests, responses in
          await answer { () throws(RPCError) in
            guard let last = try await requests.next()?.bytes.first else { throw .cancelled }
            guard last < 100 else { throw RPCError(.outOfRange, .fieldInvalid, "too many") }
            for number in 0..<last { try await responses.send([number]) }
          }
        }),
    ]
  }

  private func name(_ name: String) -> MethodName { MethodName(service: Self.service, name: name) }

  private func answer(_ body: () async throws(RPCError) -> Void) async -> Response {
    do throws(RPCError) {
      try await body()
      return Response()
    } catch {
      return Response(error)
    }
  }
}

/// What both protocols can be asked, and how they answer.
private struct Answer: Equatable {
  var messages: [[UInt8]] = []
  var code = 0
  var reason: RPCError.Reason?
}

struct AnyMethodTests {
  private let secret = Array("a secret for tests, 32 bytes and more".utf8)

  private func withServer(_ body: (Address, String) async throws -> Void) async throws {
    let path = "\(FileManager.default.temporaryDirectory.path)/m\(UUID().uuidString.prefix(13))"
    let (listening, continuation) = AsyncStream.makeStream(of: Address.self)
    let logger = Logger(label: "none") { _ in SwiftLogNoOpLogHandler() }
    let dispatcher = Dispatcher(
      Sums().methods, verifier: await TokenVerifier(.init(keys: [.hs256(secret: secret)])), logger: logger)
    let server = ParleyServer(
      .init(addresses: [.unix(path: path)]), dispatcher: dispatcher, health: Health(), logger: logger
    ) { continuation.yield($0[0]) }
    let group = ServiceGroup(configuration: .init(services: [.init(service: server)], logger: logger))
    let running = Task { try await group.run() }
    guard let address = await listening.first(where: { _ in true }) else { throw GRPCTestFailure("it does not listen") }
    let payload = TokenPayload(
      tenant: "acme", scope: "interactions:record", expires: Date(timeIntervalSinceNow: 3600))
    do {
      try await body(address, try await payload.signed(secret: secret))
    } catch {
      await group.triggerGracefulShutdown()
      throw error
    }
    await group.triggerGracefulShutdown()
    try await running.value
  }

  private func overGRPC(_ method: String, _ messages: [[UInt8]], _ token: String?, at address: Address) async throws
    -> Answer
  {
    let client = try await HTTP2Client(to: address)
    let stream = try await client.open(
      "/\(Sums.service)/\(method)", token.map { [("authorization", "Bearer \($0)")] } ?? [])
    for (place, message) in messages.enumerated() {
      // The server may have refused the call already.
      try? await client.send(
        GRPCMessageDecoder.encode(message, compression: nil), on: stream, end: place == messages.count - 1)
    }
    if messages.isEmpty { try? await client.send([], on: stream, end: true) }
    let answer = try await client.answer(to: stream)
    return Answer(
      messages: try answer.messages(), code: answer.code ?? -1,
      reason: answer.code == 0 ? nil : try answer.error().reason)
  }

  /// - Parameter isOpen: the request's own payload is not the last message.
  private func overTTRPC(
    _ method: String, _ messages: [[UInt8]], _ token: String?, isStream: Bool, isOpen: Bool, at address: Address
  ) async throws -> Answer {
    var metadata = Metadata()
    if let token { metadata.add("authorization", "Bearer \(token)") }
    let call = Call(
      service: Sums.service, method: method, metadata: metadata, timeout: nil,
      payload: isOpen ? [] : messages.first ?? [])
    var request = Envelope.frame(call, stream: 1)
    if isStream { request[9] = (isOpen ? FrameFlags.remoteOpen : .remoteClosed).rawValue }
    var frames = [request]
    if isOpen {
      frames += messages.map { Envelope.frame($0, stream: 1) }
      frames.append(Envelope.frame(nil, stream: 1, flags: .remoteClosed))
    }
    var answer = Answer()
    for (header, data) in try await TTRPCCaller.frames(sending: frames, to: address) {
      if header.kind == .response {
        switch try Envelope.reply(data) {
        case .success(let message): answer.messages.append(message)
        case .failure(let error): (answer.code, answer.reason) = (Int(error.code.rawValue), error.reason)
        }
      } else if !header.flags.contains(.noData) {
        answer.messages.append(data)
      }
    }
    return answer
  }

  @Test func unaryMethodOfAFeatureIsCalledByEveryProtocol() async throws {
    try await withServer { address, token in
      for (message, token, expected) in [
        ([1, 2, 3], token, Answer(messages: [[3]])),
        ([], token, Answer(messages: [[0]])),
        ([1], nil, Answer(code: 16, reason: .tokenMissing)),
      ] as [([UInt8], String?, Answer)] {
        let answer = try await overGRPC("Length", [message], token, at: address)
        let framed = try await overTTRPC("Length", [message], token, isStream: false, isOpen: false, at: address)
        #expect(answer == expected && framed == expected)
      }
    }
  }

  @Test func streamingMethodsOfAFeatureAreCalledByEveryProtocol() async throws {
    try await withServer { address, token in
      for (method, messages, token, expected) in [
        ("Running", [[1], [2, 3], []], token, Answer(messages: [[1], [6], [6]])),
        ("Running", [], token, Answer()),
        ("Running", [[1]], nil, Answer(code: 16, reason: .tokenMissing)),
        ("Total", [[1], [2], [3]], nil, Answer(messages: [[6]])),
        ("Total", [], nil, Answer(messages: [[0]])),
        ("Count", [[3]], nil, Answer(messages: [[0], [1], [2]])),
        ("Count", [[0]], nil, Answer()),
        ("Count", [[200]], nil, Answer(code: 11, reason: .fieldInvalid)),
        ("Count", [[1], [2]], nil, Answer(code: 12, reason: .messageCountWrong)),
        ("Count", [], nil, Answer(code: 12, reason: .messageCountWrong)),
      ] as [(String, [[UInt8]], String?, Answer)] {
        let what = "\(method) \(messages)"
        let answer = try await overGRPC(method, messages, token, at: address)
        #expect(answer.withoutEarlyMessages == expected, "\(what)")
        let framed = try await overTTRPC(method, messages, token, isStream: true, isOpen: true, at: address)
        #expect(framed.withoutEarlyMessages == expected, "\(what)")
      }
      // With the only message in the request itself.
      let closed = try await overTTRPC("Count", [[2]], nil, isStream: true, isOpen: false, at: address)
      #expect(closed == Answer(messages: [[0], [1]]))
    }
  }

  @Test func callOfAnotherShapeIsRefused() async throws {
    try await withServer { address, token in
      for (method, isStream) in [("Count", false), ("Length", true)] {
        let answer = try await overTTRPC(method, [[1]], token, isStream: isStream, isOpen: isStream, at: address)
        #expect(answer == Answer(code: 12, reason: .streamingUnsupported))
      }
    }
  }
}

extension Answer {
  /// Where too many requests come, responses to the first may have been sent.
  fileprivate var withoutEarlyMessages: Answer {
    code == 12 ? Answer(code: code, reason: reason) : self
  }
}
