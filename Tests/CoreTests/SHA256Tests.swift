import Crypto
import TestSupport
import Testing

@testable import Core

@Suite struct SHA256Tests {
  /// FIPS 180-4's own examples.
  @Test(arguments: [
    ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    (
      "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
    ),
  ])
  func agreesWithTheStandard(text: String, digest: String) {
    let words: [UInt32] = Core.SHA256.hash(Array(text.utf8))
    #expect(words.flatMap(Self.bytes).map(Self.hex).joined() == digest)
  }

  /// Of every length around the ends of blocks.
  @Test func agreesWithAnother() {
    var random = SeededGenerator()
    for length in 0..<300 {
      let message = (0..<length).map { _ in UInt8.random(in: .min ... .max, using: &random) }
      let words: [UInt32] = Core.SHA256.hash(message)
      #expect(words.flatMap(Self.bytes) == Array(Crypto.SHA256.hash(data: message)), "seed \(random.seed)")
      let (first, second): (UInt64, UInt64) = Core.SHA256.hash(message)
      #expect(
        words.prefix(4) == [
          UInt32(first >> 32), UInt32(truncatingIfNeeded: first), UInt32(second >> 32),
          UInt32(truncatingIfNeeded: second),
        ])
    }
  }

  private static func bytes(_ word: UInt32) -> [UInt8] { withUnsafeBytes(of: word.bigEndian, Array.init) }
  private static func hex(_ byte: UInt8) -> String { (byte < 16 ? "0" : "") + String(byte, radix: 16) }
}
