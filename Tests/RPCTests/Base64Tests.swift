import Foundation
import Testing

@testable import RPC

struct Base64Tests {
  @Test func everyLengthIsAsFoundationHasItWithoutPadding() {
    for length in 0..<70 {
      let bytes = (0..<length).map { UInt8(truncatingIfNeeded: 251 * $0 + length) }
      let wanted = Data(bytes).base64EncodedString().replacingOccurrences(of: "=", with: "")
      #expect(Base64.encode(bytes) == wanted)
    }
  }

  @Test func everyDigitIsUsed() {
    let bytes: [UInt8] = (0..<256).flatMap { [UInt8($0), 0, 255] }
    #expect(Base64.encode(bytes) == Data(bytes).base64EncodedString())
  }
}
