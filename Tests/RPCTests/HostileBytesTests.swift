import Core
import Foundation
import Messages
import Service
import TestSupport
import Testing

@testable import RPC

/// Whatever a peer sends, the server lives and the other connections do not notice.
@Suite(.timeLimit(.minutes(5)))
struct HostileBytesTests {
  // MARK: Pieces

  @Test func requestSplitAtEveryByteIsAnswered() async throws {
    try await surviving { server, address in
      let peer = try RawConnection(to: address)
      let other = try RawConnection(to: address)
      for split in 0..<1_000 {
        let (stream, bytes) = peer.makeFrame(GetStats.method, GetStats(), server.token)
        guard split < bytes.count else { return }
        try await peer.send(Array(bytes[..<split]))
        // Time for the first piece to be read alone.
        try await other.expectService(as: server.token)
        try await peer.send(Array(bytes[split...]))
        let (answered, reply) = try await peer.nextReply()
        #expect(answered == stream && reply.error == nil, "split at \(split)")
      }
      Issue.record("the request is longer than this test thinks")
    }
  }

  @Test func firstRequestSplitInItsHeaderIsAnswered() async throws {
    try await surviving { server, address in
      let other = try RawConnection(to: address)
      for split in 0...FrameHeader.bytes {
        let peer = try RawConnection(to: address)
        let (_, bytes) = peer.makeFrame(GetStats.method, GetStats(), server.token)
        try await peer.send(Array(bytes[..<split]))
        try await other.expectService(as: server.token)
        try await peer.send(Array(bytes[split...]))
        #expect(try await peer.nextReply().reply.error == nil, "split at \(split)")
      }
    }
  }

  @Test func requestByteByByteIsAnswered() async throws {
    try await surviving { server, address in
      let peer = try RawConnection(to: address)
      for byte in peer.makeFrame(GetStats.method, GetStats(), server.token).bytes { try await peer.send([byte]) }
      #expect(try await peer.nextReply().reply.error == nil)
    }
  }

  @Test func manyRequestsInOneWriteAreAllAnswered() async throws {
    try await surviving { server, address in
      let peer = try RawConnection(to: address)
      let frames = (0..<300).map { _ in peer.makeFrame(GetStats.method, GetStats(), server.token) }
      try await peer.send(frames.flatMap(\.bytes))
      var answered: Set<UInt32> = []
      for _ in frames {
        let (stream, reply) = try await peer.nextReply()
        #expect(reply.error == nil && answered.insert(stream).inserted)
      }
      #expect(answered == Set(frames.map(\.stream)))
    }
  }

  // MARK: Connections that end badly

  @Test func headerThenSilenceHarmsNobody() async throws {
    try await surviving { server, address in
      var silent: [RawConnection] = []
      for length in 0..<20 {
        let peer = try RawConnection(to: address)
        try await peer.send(Array(frame([1, 2, 3], stream: 1, length: 1_000_000).prefix(length)))
        silent.append(peer)
      }
      try await RawConnection(to: address).expectService(as: server.token)
      #expect(silent.allSatisfy { !$0.isHungUp })
    }
  }

  /// A peer that has shut down its write side is gone, as for containerd's own server: its calls are
  /// cancelled and the connection is closed.
  @Test func shuttingDownTheWriteSideEndsTheCalls() async throws {
    try await surviving { server, address in
      try await server.record()
      let lock = try TableLock(against: .readsAndWrites, in: server.database)
      let peer = try RawConnection(to: address)
      try await peer.start(GetStats.method, GetStats(), server.token)
      try await eventually("the statement waits") { try server.database.waitingStatements() == 1 }
      peer.shutDownWriting()
      await peer.expectClosed()
      try await eventually("the statement is cancelled") { try server.database.waitingStatements() == 0 }
      try lock.release()
    }
  }

  @Test func abruptCloseCancelsTheCallsInFlight() async throws {
    try await surviving { server, address in
      try await server.record()
      let lock = try TableLock(against: .readsAndWrites, in: server.database)
      let peer = try RawConnection(to: address)
      for _ in 0..<50 { try await peer.start(GetStats.method, GetStats(), server.token) }
      try await eventually("the readers wait") { try server.database.waitingStatements() > 0 }
      peer.abort()
      try await eventually("the statements are cancelled") { try server.database.waitingStatements() == 0 }
      try lock.release()
    }
  }

  @Test func connectionsThatComeAndGoHarmNobody() async throws {
    try await surviving { server, address in
      for round in 0..<200 {
        let peer = try RawConnection(to: address)
        if round % 2 == 0 { try await peer.start(GetStats.method, GetStats(), server.token) }
        if round % 3 == 0 { peer.abort() } else { peer.close() }
      }
    }
  }

  // MARK: Lengths

  @Test func oversizedFrameFailsItsStreamAlone() async throws {
    try await surviving { server, address in
      let peer = try RawConnection(to: address)
      let data = [UInt8](repeating: 0, count: Limits.frameBytesMax + 1)
      let (stream, _) = peer.makeFrame(.withoutToken)
      try await peer.send(frame(data, stream: stream))
      let (answered, reply) = try await peer.nextReply()
      let error = try #require(reply.error)
      #expect(answered == stream)
      #expect(error.code == .resourceExhausted && error.reason == .messageTooLarge)
      #expect(error.message.contains("\(Limits.frameBytesMax)"))
      try await peer.expectService(as: server.token)
    }
  }

  @Test func frameOfTheLimitIsRead() async throws {
    try await surviving { server, address in
      let peer = try RawConnection(to: address)
      try await peer.send(frame([UInt8](repeating: 0, count: Limits.frameBytesMax), stream: 1))
      let error = try #require(try await peer.nextReply().reply.error)
      #expect(error.code == .invalidArgument && error.reason == .requestMalformed)
    }
  }

  @Test func lengthBeyondAllReasonClosesTheConnection() async throws {
    try await surviving { server, address in
      let peer = try RawConnection(to: address)
      try await peer.expectService(as: server.token)
      try await peer.send(frame([1, 2, 3], stream: 3, length: UInt32(Limits.frameDiscardBytesMax) + 1))
      let error = try #require(try await peer.nextReply().reply.error)
      #expect(error.reason == .messageTooLarge)
      await peer.expectClosed()
    }
  }

  @Test func firstFrameOfLyingLengthIsNoFrame() async throws {
    try await surviving { _, address in
      let peer = try RawConnection(to: address)
      try await peer.send(frame([1, 2, 3], stream: 1, length: 0xffff_ffff))
      await peer.expectClosed()
    }
  }

  // MARK: Frames out of order

  @Test func unknownFrameTypesAreIgnored() async throws {
    try await surviving { server, address in
      let peer = try RawConnection(to: address)
      for kind: UInt8 in [0, 2, 4, 127, 255] {
        try await peer.send(frame([1, 2, 3], stream: 1, kind: kind))
        try await peer.send(frame([], stream: 0, kind: kind, flags: 255))
      }
      try await peer.expectService(as: server.token)
    }
  }

  @Test func streamIDsThatAreNotOddAndGrowingAreRefused() async throws {
    try await surviving { server, address in
      let peer = try RawConnection(to: address)
      let call = Call(
        service: GetStats.method.service, method: GetStats.method.name, metadata: .authorized(by: server.token),
        timeout: nil, payload: [])
      for (stream, isRight): (UInt32, Bool) in [
        (0, false), (2, false), (5, true), (5, false), (3, false), (1, false), (6, false), (7, true),
        (0xffff_fffe, false), (0xffff_ffff, true), (9, false),
      ] {
        try await peer.send(Envelope.frame(call, stream: stream))
        let (answered, reply) = try await peer.nextReply()
        #expect(answered == stream)
        if isRight {
          #expect(reply.error == nil, "stream \(stream)")
        } else {
          #expect(reply.error?.code == .invalidArgument && reply.error?.reason == .streamIDInvalid, "stream \(stream)")
        }
      }
    }
  }

  @Test func streamOfACallUnderWayCannotBeUsedAgain() async throws {
    try await TestServer.with { server in
      try await server.record()
      let lock = try TableLock(against: .readsAndWrites, in: server.database)
      let peer = try server.connect()
      let (stream, bytes) = peer.makeFrame(GetStats.method, GetStats(), server.token)
      try await peer.send(bytes + bytes)
      let (refused, refusal) = try await peer.nextReply()
      #expect(refused == stream && refusal.error?.reason == .streamIDInvalid)
      try lock.release()
      let (answered, reply) = try await peer.nextReply()
      #expect(answered == stream && reply.error == nil)
    }
  }

  @Test func ttrpcStreamsAreRefused() async throws {
    try await surviving { server, address in
      let peer = try RawConnection(to: address)
      try await peer.send(frame([], stream: 1, flags: 2))
      #expect(try await peer.nextReply().reply.error?.code == .unimplemented)
    }
  }

  // MARK: Protobuf

  @Test func envelopeCutOffAtEveryByteFailsItsStreamAlone() async throws {
    try await surviving { server, address in
      let peer = try RawConnection(to: address)
      let whole = Array(peer.makeFrame(GetStats.method, GetStats(), server.token).bytes.dropFirst(FrameHeader.bytes))
      let cuts = Array(whole.indices)
      try await peer.send(cuts.flatMap { frame(Array(whole[..<$0]), stream: UInt32(2 * $0 + 1)) })
      var answered: Set<UInt32> = []
      for _ in cuts {
        let (stream, reply) = try await peer.nextReply()
        answered.insert(stream)
        let code = try #require(reply.error, "cut at \(stream / 2)").code
        #expect([.invalidArgument, .unimplemented, .unauthenticated].contains(code), "cut at \(stream / 2)")
      }
      #expect(answered.count == cuts.count)
      try await peer.send(frame(whole, stream: UInt32(2 * whole.count + 1)))
      #expect(try await peer.nextReply().reply.error == nil)
    }
  }

  @Test func payloadCutOffAtEveryByteIsRefused() async throws {
    try await surviving { server, address in
      let peer = try RawConnection(to: address)
      let whole = RecordInteraction(interaction: .sample()).encoded()
      for cut in whole.indices {
        let call = Call(
          service: RecordInteraction.method.service, method: RecordInteraction.method.name,
          metadata: .authorized(by: server.token), timeout: nil, payload: Array(whole[..<cut]))
        let error = try #require(try await peer.reply(to: call).error, "cut at \(cut)")
        #expect(error.code == .invalidArgument, "cut at \(cut)")
      }
      #expect(try server.interactionCount() == 0)
    }
  }

  @Test func changedRequestsAreAnswered() async throws {
    try await surviving { server, address in
      var chance = SeededGenerator()
      let peer = try RawConnection(to: address)
      let originals: [(MethodName, [UInt8])] = [
        (RecordInteraction.method, RecordInteraction(interaction: .sample()).encoded()),
        (
          RecordInteractions.method,
          RecordInteractions(interactions: [.success(.sample()), .success(.sample())]).encoded()
        ),
        (ListInteractions.method, ListInteractions(filter: .everything, pageToken: "1234", view: .full).encoded()),
        (GetInteraction.method, GetInteraction(id: InteractionID(at: .now).description).encoded()),
        (GetStats.method, GetStats(filter: .everything, interval: .hour).encoded()),
      ]
      for round in 0..<400 {
        let (method, original) = originals.randomElement(using: &chance)!
        let call = Call(
          service: method.service, method: method.name, metadata: .authorized(by: server.token),
          timeout: .seconds(20), payload: original.changed(using: &chance))
        do {
          let error = try await peer.reply(to: call).error
          #expect(
            error?.code != .internal && error?.code != .deadlineExceeded && error?.code != .unavailable,
            "seed \(chance.seed), round \(round): \(error?.message ?? "")")
        } catch {
          Issue.record("seed \(chance.seed), round \(round): \(error)")
          throw error
        }
      }
    }
  }

  @Test func garbageAfterAValidFirstByteHarmsNobody() async throws {
    try await surviving { server, address in
      var chance = SeededGenerator()
      for round in 0..<60 {
        let peer = try RawConnection(to: address)
        var bytes = [UInt8](repeating: 0, count: .random(in: 1...4_000, using: &chance))
        for place in bytes.indices.dropFirst() { bytes[place] = .random(in: .min ... .max, using: &chance) }
        // Small frames too, so that what is inside them is looked at.
        if round % 2 == 0 { bytes = frame(Array(bytes.dropFirst()), stream: 1) + bytes }
        try? await peer.send(bytes)
        peer.close()
      }
      do {
        try await RawConnection(to: address).expectService(as: server.token)
      } catch {
        Issue.record("seed \(chance.seed)")
      }
    }
  }

  @Test func millionsOfEmptyElementsAreRefusedNotUnpacked() async throws {
    try await surviving { server, address in
      let peer = try RawConnection(to: address)
      // Field 1 (interactions), empty, again and again.
      let payload = [UInt8]((0..<1_900_000).flatMap { _ in [0x0a, 0x00] as [UInt8] })
      let call = Call(
        service: RecordInteractions.method.service, method: RecordInteractions.method.name,
        metadata: .authorized(by: server.token), timeout: nil, payload: payload)
      #expect(try await peer.reply(to: call).error?.code == .invalidArgument)
    }
  }

  /// Calls whose time is up are answered at once, however many come in one read. (In a process of its
  /// own, for it once cost the server its stack.)
  @Test func manyCallsWithoutTimeInOneWriteAreAnswered() async throws {
    await #expect(processExitsWith: .success) {
      try await TestServer.with { server in
        let count = 20_000
        let peer = try server.connect()
        // Field 4 (timeout_nano) alone: -1.
        let late: [UInt8] = [0x20] + [UInt8](repeating: 0xff, count: 9) + [0x01]
        let frames = (0..<count).flatMap { frame(late, stream: UInt32(2 * $0 + 1)) }
        var rest = frames[...]
        for _ in 0..<count {
          if !rest.isEmpty { rest = rest.dropFirst(try peer.sendSome(rest)) }
          let code = try await peer.nextReply().reply.error?.code
          guard code == .deadlineExceeded else { throw TestFailure("answered \(String(describing: code))") }
        }
      }
    }
  }

  // MARK: Other protocols

  @Test func http1IsRefusedInWords() async throws {
    try await surviving { _, address in
      let peer = try RawConnection(to: address)
      try await peer.send(Array("GET / HTTP/1.1\r\nHost: parley\r\n\r\n".utf8))
      let answer = String(decoding: try await peer.bytesUntilClosed(), as: UTF8.self)
      let parts = answer.components(separatedBy: "\r\n\r\n")
      try #require(parts.count == 2)
      #expect(parts[0].hasPrefix("HTTP/1.1 4"))
      #expect(parts[0].contains("content-length: \(parts[1].utf8.count)"))
      #expect(parts[1].contains("ttRPC"))
    }
  }

  @Test func tlsWithoutTLSIsClosed() async throws {
    try await surviving { _, address in
      let peer = try RawConnection(to: address)
      try await peer.send([0x16, 0x03, 0x01, 0x00, 0xc8, 0x01])
      await peer.expectClosed()
    }
  }

  @Test func unknownFirstBytesAreClosed() async throws {
    try await surviving { _, address in
      let known = Set([0x00, 0x16] + (UInt8(ascii: "A")...UInt8(ascii: "Z")))
      for first in Set(UInt8.min ... .max).subtracting(known) {
        let peer = try RawConnection(to: address)
        try await peer.send([first, 0, 0])
        await peer.expectClosed()
      }
    }
  }
}

extension InteractionFilter {
  /// Every field set.
  static var everything: InteractionFilter {
    var filter = InteractionFilter()
    filter.conversationID = "conversation"
    filter.modelUsed = "gpt-4o"
    filter.messageType = "text"
    filter.handoffTriggered = true
    filter.handoffReason = "asked for a person"
    filter.minConfidence = 0.25
    filter.maxConfidence = 0.75
    filter.intent = "track"
    filter.startTime = .now - 1_000
    filter.endTime = .now + 1_000
    return filter
  }
}

extension [UInt8] {
  /// With a few bytes changed, put in, taken out, doubled or cut off.
  fileprivate func changed(using chance: inout SeededGenerator) -> [UInt8] {
    var bytes = self
    for _ in 0..<Int.random(in: 1...4, using: &chance) where !bytes.isEmpty {
      let place = bytes.indices.randomElement(using: &chance)!
      switch Int.random(in: 0..<6, using: &chance) {
      case 0: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &chance)
      case 1: bytes[place] = .random(in: .min ... .max, using: &chance)
      case 2: bytes.insert(.random(in: .min ... .max, using: &chance), at: place)
      case 3: bytes.remove(at: place)
      case 4: bytes.insert(contentsOf: bytes[place..<Swift.min(place + 20, bytes.count)], at: place)
      default: bytes.removeLast(Swift.min(8, bytes.count - place))
      }
    }
    return bytes
  }
}
