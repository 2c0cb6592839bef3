import CNghttp2

/// Headers that never change, in the form that nghttp2 takes: to send them copies and allocates nothing. It is never
/// freed; make one for all connections.
final class ConstantHeaders: @unchecked Sendable {
  let list: [(name: StaticString, value: StaticString)]
  let fields: UnsafeBufferPointer<nghttp2_nv>

  init(_ list: (name: StaticString, value: StaticString)...) {
    self.list = list
    let fields = UnsafeMutableBufferPointer<nghttp2_nv>.allocate(capacity: list.count)
    let flags = UInt8(NGHTTP2_NV_FLAG_NO_COPY_NAME.rawValue | NGHTTP2_NV_FLAG_NO_COPY_VALUE.rawValue)
    for (place, (name, value)) in list.enumerated() {
      fields.initializeElement(
        at: place,
        to: nghttp2_nv(
          name: UnsafeMutablePointer(mutating: name.utf8Start), value: UnsafeMutablePointer(mutating: value.utf8Start),
          namelen: name.utf8CodeUnitCount, valuelen: value.utf8CodeUnitCount, flags: flags))
    }
    self.fields = UnsafeBufferPointer(fields)
  }
}

/// Headers to be sent: constant ones, and others behind them.
struct HTTP2Headers {
  var constant: ConstantHeaders?
  /// With names in lower case.
  private(set) var fields: [(name: String, value: String)] = []

  init(_ constant: ConstantHeaders? = nil) {
    self.constant = constant
  }

  mutating func add(_ name: String, _ value: String) { fields.append((name, value)) }

  /// The first value of a name.
  subscript(name: String) -> String? {
    constant?.list.first { "\($0.name)" == name }.map { "\($0.value)" } ?? fields.first { $0.name == name }?.value
  }

  /// Calls `body` with all of them as nghttp2 takes them, which copies what it keeps.
  func withFields<R>(_ body: (UnsafePointer<nghttp2_nv>?, Int) -> R) -> R {
    let constants = constant?.fields ?? UnsafeBufferPointer(start: nil, count: 0)
    if fields.isEmpty { return body(constants.baseAddress, constants.count) }
    var bytes: [UInt8] = []
    for field in fields {
      bytes += field.name.utf8
      bytes += field.value.utf8
    }
    return bytes.withUnsafeMutableBufferPointer { bytes in
      var list = Array(constants)
      // Bytes of no length need no address.
      guard var place = bytes.baseAddress else { return body(list, list.count) }
      for field in fields {
        let (name, value) = (field.name.utf8.count, field.value.utf8.count)
        // They differ from call to call, and would drive the others out of the peer's table.
        list.append(
          nghttp2_nv(
            name: place, value: place + name, namelen: name, valuelen: value,
            flags: UInt8(NGHTTP2_NV_FLAG_NO_INDEX.rawValue)))
        place += name + value
      }
      return body(list, list.count)
    }
  }
}
