import NIOCore
import TestSupport
import Testing

@testable import RPC

@Suite struct OutgoingBodyTests {
  /// However pieces come and are taken, the bytes leave whole and in order, and each told piece is told once it is gone.
  @Test func piecesLeaveWholeAndInOrder() {
    for _ in 0..<200 {
      var random = SeededGenerator()
      var (body, output) = (OutgoingBody(), ByteBuffer())
      var (given, ends, told) = ([UInt8](), [Int](), 0)
      let count = Int.random(in: 1...200, using: &random)
      for place in 0..<count {
        let piece = (0..<[0, 1, 5, 100, 5000].randomElement(using: &random)!).map { _ in
          UInt8.random(in: .min ... .max, using: &random)
        }
        let isTold = Bool.random(using: &random)
        body.append(piece, isTold: isTold)
        given += piece
        if isTold { ends.append(given.count) }
        if place == count - 1 { body.finish(HTTP2Headers(.grpcOK)) }
        while Bool.random(using: &random) || place == count - 1 {
          var isLast = false
          switch body.next(bytesMax: [1, 7, 4096, 16_384].randomElement(using: &random)!) {
          case .nothing: break
          case .bytes(let bytes): told += body.write(bytes, to: &output)
          case .last(let bytes, _):
            told += body.write(bytes, to: &output)
            isLast = true
          }
          #expect(body.queuedBytes == given.count - output.readableBytes, "seed \(random.seed)")
          #expect(told >= ends.count { $0 < output.readableBytes }, "seed \(random.seed)")
          #expect(told <= ends.count { $0 <= output.readableBytes }, "seed \(random.seed)")
          if isLast || place < count - 1, body.queuedBytes == 0 { break }
        }
      }
      #expect(Array(output.readableBytesView) == given && told == ends.count, "seed \(random.seed)")
    }
  }
}
