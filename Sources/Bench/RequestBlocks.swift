import Core

/// The headers of requests, which are the same for many calls.
struct RequestFields: Sendable {
  struct Field: Hashable, Sendable {
    var name: String
    var value: String

    /// As HPACK's table counts it (RFC 7541, section 4.1).
    var tableBytes: Int { name.utf8.count + value.utf8.count + 32 }
  }

  /// Each once.
  private(set) var fields: [Field] = []
  /// Of each request, the places of its fields.
  private(set) var requests: [[Int]] = []

  init(_ requests: [[(name: String, value: String)]]) {
    var places: [Field: Int] = [:]
    for request in requests {
      self.requests.append(
        request.map { name, value in
          let field = Field(name: name, value: value)
          if let place = places[field] { return place }
          places[field] = fields.count
          fields.append(field)
          return fields.count - 1
        })
    }
  }
}

/// The header blocks of one connection's requests (HPACK, RFC 7541), each made once for as long as it holds.
///
/// nghttp2 tells `:path` and `authorization` anew with every request, in Huffman's code: of the client that costs 0.8 µs
/// a call, and of the server 1.7 µs. Stock clients, Go's for example, refer to what the server has in its table, and so
/// do these blocks.
struct RequestBlocks {
  private static let tableBytesMax = 4096
  /// RFC 7541, appendix A: the entries that every table begins with.
  private static let staticCount = 61

  private let headers: RequestFields
  /// The fields in the server's table, the newest first.
  private var table: [Int] = []
  private var tableBytes = 0
  private var tableBytesMax = Self.tableBytesMax
  /// The server has to be told of another size of the table.
  private var isSizeDue = false
  /// Of each request, while it holds.
  private var made: [[UInt8]?]

  init(_ headers: RequestFields) {
    self.headers = headers
    made = Array(repeating: nil, count: headers.requests.count)
  }

  /// The server has told how large its table may be.
  mutating func setTableBytesMax(_ bytes: Int) {
    let bytes = min(bytes, Self.tableBytesMax)
    guard bytes != tableBytesMax else { return }
    tableBytesMax = bytes
    isSizeDue = true
    evict(to: bytes)
    forgetMade()
  }

  /// The block of the next request that is sent.
  mutating func next(_ request: Int) -> [UInt8] {
    if let block = made[request] { return block }
    var block: [UInt8] = []
    if isSizeDue { Self.append(tableBytesMax, prefixBits: 5, of: 0x20, to: &block) }
    var isLasting = !isSizeDue
    isSizeDue = false
    for field in headers.requests[request] {
      if let place = table.firstIndex(of: field) {
        Self.append(Self.staticCount + 1 + place, prefixBits: 7, of: 0x80, to: &block)
      } else {
        if add(field, to: &block) { isLasting = false }
      }
    }
    // An entry that comes or goes moves the others.
    if isLasting { made[request] = block }
    return block
  }

  /// Tells a field.
  ///
  /// - Returns: whether the server has it in its table from now on.
  private mutating func add(_ place: Int, to block: inout [UInt8]) -> Bool {
    let field = headers.fields[place]
    let isKept = field.tableBytes <= tableBytesMax
    block.append(isKept ? 0x40 : 0x00)
    for text in [field.name, field.value] {
      Self.append(text.utf8.count, prefixBits: 7, of: 0x00, to: &block)
      block += text.utf8
    }
    guard isKept else { return false }
    evict(to: tableBytesMax - field.tableBytes)
    table.insert(place, at: 0)
    tableBytes += field.tableBytes
    forgetMade()
    return true
  }

  private mutating func evict(to bytes: Int) {
    while tableBytes > bytes, let last = table.popLast() { tableBytes -= headers.fields[last].tableBytes }
  }

  private mutating func forgetMade() {
    for request in made.indices { made[request] = nil }
  }

  /// RFC 7541, section 5.1.
  private static func append(_ value: Int, prefixBits: Int, of first: UInt8, to block: inout [UInt8]) {
    let prefixMax = 1 << prefixBits - 1
    guard value >= prefixMax else { return block.append(first | UInt8(value)) }
    block.append(first | UInt8(prefixMax))
    var rest = value - prefixMax
    while rest >= 128 {
      block.append(UInt8(rest & 127 | 128))
      rest >>= 7
    }
    block.append(UInt8(rest))
  }
}
