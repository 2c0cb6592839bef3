import Core
import Foundation
import Synchronization

/// Remembers tokens that were verified, a bounded number of them, by their `authorization`.
///
/// Every call looks here. So a token is found by its last bytes, which are its signature's and differ from token to
/// token, whatever its length; and tokens lie in several parts, each with a lock of its own.
final class VerifiedTokens: Sendable {
  struct Token: Sendable {
    var claims: Claims
    /// Not good from then on.
    var end: Date
  }

  private struct Key: Hashable {
    let authorization: String
    let hash: Int

    init(_ authorization: String) {
      var text = authorization
      self.authorization = authorization
      // Nobody can choose the signatures of tokens that are kept, so that these bytes need no better hash.
      hash = text.withUTF8 { bytes in
        bytes.suffix(16).reduce(0) { $0 &* 31 &+ Int($1) }
      }
    }

    func hash(into hasher: inout Hasher) { hasher.combine(hash) }

    static func == (a: Key, b: Key) -> Bool { a.hash == b.hash && a.authorization.isExactly(b.authorization) }
  }

  private final class Part: Sendable {
    let tokens: Mutex<GenerationalCache<Key, Token>>

    init(countMax: Int) {
      tokens = Mutex(GenerationalCache(countMax: countMax))
    }
  }

  private let parts: [Part]

  init(countMax: Int, parts: Int = 16) {
    self.parts = (0..<parts).map { _ in Part(countMax: countMax / parts) }
  }

  subscript(authorization: String) -> Token? {
    get {
      let key = Key(authorization)
      return part(of: key).tokens.withLock { $0[key] }
    }
    set {
      let key = Key(authorization)
      part(of: key).tokens.withLock { $0[key] = newValue }
    }
  }

  private func part(of key: Key) -> Part { parts[Int(UInt(bitPattern: key.hash) % UInt(parts.count))] }
}
