public import Core

/// One call as a session hands it on, whatever protocol it came by.
public struct Call: Sendable {
  /// "parley.v1.InteractionService"
  public var service: String
  /// "GetInteraction"
  public var method: String
  public var metadata: Metadata
  /// How long the caller waits, from the moment the call was read; nil: it did not say. Zero or less:
  /// it has stopped waiting already.
  public var timeout: Duration?
  /// The encoded request message.
  public var payload: [UInt8]

  public init(service: String, method: String, metadata: Metadata, timeout: Duration?, payload: [UInt8]) {
    self.service = service
    self.method = method
    self.metadata = metadata
    self.timeout = timeout
    self.payload = payload
  }

  /// What it weighs while it is under way.
  public var bytes: Int { payload.count + metadata.bytes + service.utf8.count + method.utf8.count }
}

/// The other end of a connection that calls come by.
public protocol CallPeer: AnyObject, Sendable {
  /// One of its calls had a valid token, of this tenant.
  func authenticated(as tenant: Tenant)
}

/// The encoded answer to a call, or the error instead of it.
public typealias Reply = Result<[UInt8], RPCError>

/// What travels beside a message: keys in lower case, in the order sent, repeats kept.
public struct Metadata: Hashable, Sendable {
  public struct Entry: Hashable, Sendable {
    public var key: String
    public var value: String
  }

  public private(set) var entries: [Entry] = []
  /// Of all keys and values.
  public private(set) var bytes = 0

  public init() {}

  public mutating func add(_ key: String, _ value: String) {
    add(lowercase: key.lowercased(), value)
  }

  /// - Parameter key: in lower case already, as HTTP/2 has it.
  mutating func add(lowercase key: String, _ value: String) {
    entries.append(Entry(key: key, value: value))
    bytes += key.utf8.count + value.utf8.count
  }

  /// - Parameter count: of entries, told before they are read.
  static func check(count: Int) throws(RPCError) {
    guard count <= Limits.metadataEntriesMax else {
      throw RPCError(
        .invalidArgument, .metadataInvalid,
        "metadata has \(count) entries; at most \(Limits.metadataEntriesMax) are allowed")
    }
  }

  func checkBytes() throws(RPCError) {
    guard bytes <= Limits.metadataBytesMax else {
      throw RPCError(
        .invalidArgument, .metadataInvalid,
        "metadata is \(bytes) bytes long; at most \(Limits.metadataBytesMax) are allowed")
    }
  }

  /// The values of a key, which is given in lower case.
  public subscript(key: String) -> [String] {
    entries.lazy.filter { $0.key == key }.map(\.value)
  }
}
