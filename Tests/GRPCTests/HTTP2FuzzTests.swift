import Core
import Messages
import NIOCore
import NIOEmbedded
import TestSupport
import Testing

@testable import RPC

/// Frames at random, right and wrong, in pieces of any size, and responses at random. Each failure tells its seed.
@Suite(.timeLimit(.minutes(5)))
struct HTTP2FuzzTests {
  private static let rounds = 150

  @Test func sessionKeepsItsOrderWhateverComes() {
    for _ in 0..<Self.rounds {
      var chance = SeededGenerator()
      let seed = "seed \(chance.seed)"
      var stage = SessionStage(client: RawHTTP2Peer(windowBytes: .random(in: 0..<70_000, using: &chance)))
      stage.returnsWindows = .random(using: &chance)
      for _ in 0..<Int.random(in: 1..<150, using: &chance) {
        for _ in 0..<Int.random(in: 0..<6, using: &chance) { stage.client.doSomething(streamsMax: 12, using: &chance) }
        for piece in chance.pieces(of: stage.client.takeOutgoing()) { stage.receive(piece) }
        for _ in 0..<Int.random(in: 0..<4, using: &chance) { respond(stage.session, &chance) }
        if .random(using: &chance) { stage.send() }
        #expect(stage.session.queuedBytes >= 0, "\(seed)")
      }
      expectOrder(stage.takeEvents(), seed)
      if .random(using: &chance) { stage.send() }
      stage.session.close()
      #expect(stage.session.queuedBytes == 0, "\(seed)")
    }
  }

  private func respond(_ session: HTTP2Session, _ chance: inout SeededGenerator) {
    let stream = StreamID(2 * Int.random(in: 0..<12, using: &chance) + 1)
    switch Int.random(in: 0..<8, using: &chance) {
    case 0: session.respond(on: stream, HTTP2Headers(.grpcResponse), isLast: .random(using: &chance))
    case 1, 2:
      let body = [UInt8](repeating: 1, count: .random(in: 0..<30_000, using: &chance))
      session.send(body, on: stream, isTold: .random(using: &chance))
    case 3: session.finish(stream, HTTP2Headers(.grpcOK))
    case 4: session.reset(stream, .refusedStream)
    case 5: session.consume(.random(in: 0..<200_000, using: &chance), of: stream)
    case 6: session.consumeOfConnection(.random(in: 0..<200_000, using: &chance))
    default: session.ping(7)
    }
  }

  /// A stream is opened once, then has its events, and is closed once.
  private func expectOrder(_ events: [String], _ seed: String) {
    var open: Set<Substring> = []
    var closed: Set<Substring> = []
    for event in events {
      let words = event.split(separator: " ")
      let stream = words[1]
      switch words[0] {
      case "opened":
        #expect(!closed.contains(stream) && open.insert(stream).inserted, "\(seed): \(event)")
      case "closed":
        // One whose headers were refused was not opened.
        open.remove(stream)
        #expect(closed.insert(stream).inserted, "\(seed): \(event)")
      case "acknowledged": break
      default: #expect(open.contains(stream), "\(seed): \(event)")
      }
    }
  }

  /// Whatever comes, the connection gives back all it took when it is gone.
  @Test func connectionKeepsNothingWhateverCame() throws {
    for _ in 0..<Self.rounds {
      var chance = SeededGenerator()
      let seed = "seed \(chance.seed)"
      let requests = RequestMemory(strangerBytesMax: 1 << 20)
      let stage = try HandlerStage(
        requests: requests, client: RawHTTP2Peer(windowBytes: .random(in: 0..<70_000, using: &chance)))
      var answered = 0
      for _ in 0..<Int.random(in: 1..<120, using: &chance) where stage.server.isActive {
        for _ in 0..<Int.random(in: 0..<6, using: &chance) { stage.client.doSomething(streamsMax: 12, using: &chance) }
        for piece in chance.pieces(of: stage.client.takeOutgoing()) where stage.server.isActive {
          _ = try? stage.server.writeInbound(ByteBuffer(bytes: piece))
        }
        if answered < stage.methods.waiting.count, .random(using: &chance) {
          stage.methods.answer(answered, [UInt8](repeating: 0, count: .random(in: 0..<100_000, using: &chance)))
          answered += 1
        }
        if Int.random(in: 0..<30, using: &chance) == 0 { stage.quiesce() }
        if Int.random(in: 0..<5, using: &chance) == 0 { stage.loop.advanceTime(by: .seconds(1)) }
        stage.moveToClient()
      }
      stage.server.close(promise: nil)
      stage.loop.run()
      while answered < stage.methods.waiting.count {
        stage.methods.answer(answered)
        answered += 1
      }
      stage.loop.advanceTime(by: .seconds(120))
      #expect(stage.handler == nil && stage.responses.bytes == 0, "\(seed)")
    }
  }

  @Test func serverLivesWhateverComes() async throws {
    try await GRPCServer.with { server in
      for _ in 0..<40 {
        var chance = SeededGenerator()
        let client = try await RawHTTP2Client(to: server.address)
        for _ in 0..<Int.random(in: 1..<60, using: &chance) {
          do {
            try await client.act { $0.doSomething(streamsMax: 12, using: &chance) }
          } catch {
            // The server has ended the connection.
            break
          }
        }
        #expect(try await server.connect().call(healthCheck).code == 0, "seed \(chance.seed)")
      }
    }
  }
}
