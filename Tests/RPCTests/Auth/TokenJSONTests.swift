import Foundation
import TestSupport
import Testing

@testable import Auth
@testable import RPC

@Suite struct TokenJSONTests {
  private func read(_ text: String) throws(TokenJSON.Failure) -> TokenJSON { try TokenJSON(Array(text.utf8)) }

  @Test func valuesAreRead() throws {
    let cases: [(String, TokenJSON)] = [
      ("null", .null), (" true\n", .bool(true)), ("false", .bool(false)), ("0", .number(0)), ("-0.5e+2", .number(-50)),
      ("1e-2", .number(0.01)), ("1700000000.25", .number(1_700_000_000.25)), (#""""#, .text("")),
      (#""a\"\\\/\b\f\n\r\t\u00e9\uD83D\uDE00é""#, .text("a\"\\/\u{8}\u{c}\n\r\té😀é")), ("[]", .list([])),
      ("[1, [true]]", .list([.number(1), .list([.bool(true)])])), ("{ }", .object([:])),
      (#"{"a":1,"b":{"a":2}}"#, .object(["a": .number(1), "b": .object(["a": .number(2)])])),
    ]
    for (text, value) in cases { #expect(try read(text) == value, "\(text)") }
  }

  @Test func whatIsNotJSONIsRefused() {
    let texts = [
      "", " ", "nul", "True", "01", "-", "+1", ".5", "1.", "1e", "0x1", "NaN", "Infinity", "1e400", "'a'", "\"",
      "\"\n\"",
      "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\udc00\"", "[", "[1", "[1,]",
      "[,1]",
      "[1 2]", "{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,}", "{a:1}", "{1:1}", "{\"a\" 1}", "1 2", "{}{}",
      "\u{FEFF}1", "/**/1",
    ]
    for text in texts { #expect(throws: TokenJSON.Failure.malformed, "\(text)") { try read(text) } }
    for bytes in [[0x22, 0xff, 0x22], [0x22, 0xc0, 0x80, 0x22], [0x22, 0xed, 0xa0, 0x80, 0x22], [0x00]] as [[UInt8]] {
      #expect(throws: TokenJSON.Failure.malformed) { try TokenJSON(bytes) }
    }
  }

  @Test func namesAreThereOnce() {
    for text in [#"{"a":1,"a":1}"#, #"{"a":1,"\u0061":2}"#, #"[{"b":{"a":1,"c":2,"a":3}}]"#] {
      #expect(throws: TokenJSON.Failure.duplicate("a")) { try read(text) }
    }
  }

  @Test func nestingIsBounded() throws {
    func nested(_ depth: Int) -> String { String(repeating: "[", count: depth) + String(repeating: "]", count: depth) }
    _ = try read(nested(16))
    for depth in [17, 18, 100_000] { #expect(throws: TokenJSON.Failure.tooDeep) { try read(nested(depth)) } }
    #expect(throws: TokenJSON.Failure.tooDeep) { try read(String(repeating: "{\"a\":", count: 100_000)) }
  }

  /// Foundation's reader, which takes what this one takes, but for what is named above.
  @Test func changedBytesAreReadAsFoundationReadsThemOrRefused() {
    let seed = UInt64.random(in: .min ... .max)
    var random = SeededGenerator(seed: seed)
    let text = Array(#"{"tenant":"a\u00e9","exp":1700000000,"scopes":["a","b"],"x":{"y":[null,true,-1.5e3]}}"#.utf8)
    for _ in 0..<20_000 {
      var bytes = text
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        bytes[Int.random(in: bytes.indices, using: &random)] = UInt8.random(in: .min ... .max, using: &random)
      }
      guard (try? TokenJSON(bytes)) != nil else { continue }
      let isRead = (try? JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed)) != nil
      #expect(isRead, "seed \(seed): \(String(decoding: bytes, as: UTF8.self))")
    }
  }
}
