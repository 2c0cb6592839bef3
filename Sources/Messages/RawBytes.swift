import Glibc

extension UnsafeRawBufferPointer {
  package func isEqual(to text: StaticString) -> Bool {
    count == text.utf8CodeUnitCount && (count == 0 || memcmp(baseAddress!, text.utf8Start, count) == 0)
  }
}
