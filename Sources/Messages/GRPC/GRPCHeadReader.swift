import Core
import Glibc

/// Reads the headers of one gRPC request after the other. Pure.
///
/// What a request has in common with the one before, its path and most of its metadata, is not read again: it
/// is the same text, in the same memory.
public struct GRPCHeadReader: Sendable {
  /// What is longer is not kept for the next request.
  private static let keptBytesMax = 2048

  private var head = GRPCRequestHead(service: "", method: "")
  private var isPost = false
  private var isGRPC = false
  /// nil: there was none; empty: it is not of the form `/SERVICE/METHOD`.
  private var path: String?
  private var refusal: GRPCRequestHead.Refusal?
  /// How many entries of the metadata are those of the last request; nil once there was another.
  private var sameEntries: Int? = 0

  private var lastPath = ""
  private var lastNames: (service: String, method: String)?
  private var lastMetadata = Metadata()
  private var lastAccept: (value: String, accepts: Set<Compression>)?

  public init() {}

  /// The next header of a request.
  public mutating func add(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
    switch name.count {
    case 5 where name.isEqual(to: ":path"):
      if !value.isEqual(to: lastPath) { setPath(String(decoding: value, as: UTF8.self)) }
      path = lastPath
    case 7 where name.isEqual(to: ":method"): isPost = value.isEqual(to: "POST")
    case _ where name.first == UInt8(ascii: ":"): break
    case 2 where name.isEqual(to: "te"): break
    case 10 where name.isEqual(to: "user-agent"): break
    case 12 where name.isEqual(to: "content-type"):
      isGRPC = value.isEqual(to: "application/grpc") || Self.isGRPC(String(decoding: value, as: UTF8.self))
    case 12 where name.isEqual(to: "grpc-timeout"): setTimeout(String(decoding: value, as: UTF8.self))
    case 13 where name.isEqual(to: "grpc-encoding"):
      setEncoding(value)
    case 14 where name.isEqual(to: "content-length"): break
    case 17 where name.isEqual(to: "grpc-message-type"): break
    case 20 where name.isEqual(to: "grpc-accept-encoding"): setAccept(value)
    default: addMetadata(name, value)
    }
  }

  /// The request's headers are complete. The next header is another's.
  public mutating func finish() throws(GRPCRequestHead.Refusal) -> GRPCRequestHead {
    defer { startAgain() }
    guard isPost else { throw .http(status: 405) }
    guard isGRPC else { throw .http(status: 415) }
    guard path != nil, let names = lastNames else {
      throw .rpc(.methodUnknown(service: "", method: path ?? ""))
    }
    (head.service, head.method) = names
    if sameEntries == lastMetadata.entries.count { head.metadata = lastMetadata } else { forkMetadata() }
    do throws(RPCError) {
      try Metadata.check(count: head.metadata.entries.count)
      try head.metadata.checkBytes()
    } catch {
      throw .rpc(error)
    }
    lastMetadata = head.metadata.bytes <= Self.keptBytesMax ? head.metadata : Metadata()
    if let refusal { throw refusal }
    return head
  }

  private mutating func startAgain() {
    head = GRPCRequestHead(service: "", method: "")
    (isPost, isGRPC, path, refusal, sameEntries) = (false, false, nil, nil, 0)
    if lastPath.utf8.count > Self.keptBytesMax { (lastPath, lastNames) = ("", nil) }
  }

  // MARK: Metadata

  private mutating func addMetadata(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
    if let place = sameEntries, place < lastMetadata.entries.count {
      let last = lastMetadata.entries[place]
      if name.isEqual(to: last.key), value.isEqual(to: last.value) {
        sameEntries = place + 1
        return
      }
    }
    forkMetadata()
    head.metadata.add(lowercase: String(decoding: name, as: UTF8.self), String(decoding: value, as: UTF8.self))
  }

  /// It is not the last request's: keeps what they have in common so far.
  private mutating func forkMetadata() {
    guard let count = sameEntries else { return }
    sameEntries = nil
    for entry in lastMetadata.entries.prefix(count) { head.metadata.add(lowercase: entry.key, entry.value) }
  }

  // MARK: gRPC's own

  /// `/SERVICE/METHOD`
  private mutating func setPath(_ path: String) {
    (lastPath, lastNames) = (path, nil)
    let slash = UInt8(ascii: "/")
    guard path.utf8.first == slash, let middle = path.utf8.dropFirst().firstIndex(of: slash) else { return }
    let method = path[path.utf8.index(after: middle)...]
    guard !method.utf8.contains(slash) else { return }
    lastNames = (String(path[path.utf8.index(after: path.startIndex)..<middle]), String(method))
  }

  private mutating func setTimeout(_ value: String) {
    head.timeout = GRPCTimeout.parse(value)
    guard head.timeout == nil else { return }
    refusal = .rpc(
      RPCError(
        .invalidArgument, .metadataInvalid, "grpc-timeout is not 1 to 8 digits and one of H, M, S, m, u and n"))
  }

  private mutating func setEncoding(_ value: UnsafeRawBufferPointer) {
    if value.isEqual(to: "identity") {
      head.encoding = nil
      return
    }
    let name = String(decoding: value, as: UTF8.self)
    head.encoding = Compression(rawValue: name)
    guard head.encoding == nil else { return }
    refusal = .encoding(
      RPCError(
        .unimplemented, .encodingUnknown,
        "grpc-encoding \(name.prefix(32)) is not known here; allowed are \(GRPCRequestHead.acceptEncoding)"))
  }

  private mutating func setAccept(_ value: UnsafeRawBufferPointer) {
    if let last = lastAccept, value.isEqual(to: last.value) {
      head.accepts = last.accepts
      return
    }
    let text = String(decoding: value, as: UTF8.self)
    let names = text.split(separator: ",").map { $0.filter { $0 != " " } }
    let accepts = Set(names.compactMap(Compression.init(rawValue:)))
    head.accepts = accepts
    if value.count <= Self.keptBytesMax { lastAccept = (text, accepts) }
  }

  /// `application/grpc`, also with `+proto` or parameters.
  private static func isGRPC(_ contentType: String) -> Bool {
    let type = contentType.prefix { $0 != ";" }.lowercased().filter { $0 != " " }
    return type == "application/grpc" || type == "application/grpc+proto"
  }
}

extension UnsafeRawBufferPointer {
  fileprivate func isEqual(to text: String) -> Bool {
    var text = text
    return count == text.utf8.count && text.withUTF8 { count == 0 || memcmp(baseAddress!, $0.baseAddress!, count) == 0 }
  }
}
