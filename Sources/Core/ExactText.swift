import Glibc

extension String {
  /// The same bytes. Swift's == holds texts equal that Unicode does, such as é in one scalar and in two;
  /// PostgreSQL does not, and a tenant, or a content, that was almost another's must not pass for it.
  public func isExactly(_ other: String) -> Bool {
    guard utf8.count == other.utf8.count else { return false }
    if utf8.isEmpty { return true }
    let isSame = utf8.withContiguousStorageIfAvailable { bytes in
      other.utf8.withContiguousStorageIfAvailable { memcmp(bytes.baseAddress!, $0.baseAddress!, bytes.count) == 0 }
    }
    return (isSame ?? nil) ?? utf8.elementsEqual(other.utf8)
  }

  /// Feeds a hash with those bytes and an end that no text has within it.
  public func hashExactly(into hasher: inout Hasher) {
    var text = self
    text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    hasher.combine(0xff as UInt8)
  }
}
