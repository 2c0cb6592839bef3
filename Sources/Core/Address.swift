/// Where a server listens and a client connects: `unix:PATH` or `HOST:PORT` (`[HOST]:PORT` for IPv6).
public enum Address: Hashable, Sendable, LosslessStringConvertible {
  case unix(path: String)
  case tcp(host: String, port: Int)

  /// The kernel's limit for a socket's path (sun_path, without its NUL).
  public static let unixPathBytesMax = 107

  public init?(_ description: String) {
    if description.hasPrefix("unix:") {
      let path = String(description.dropFirst(5))
      guard !path.isEmpty, path.utf8.count <= Self.unixPathBytesMax, !path.utf8.contains(0) else { return nil }
      self = .unix(path: path)
      return
    }
    guard let colon = description.lastIndex(of: ":"),
      let port = UInt16(description[description.index(after: colon)...]),
      description[description.index(after: colon)...].utf8.allSatisfy({ (48...57).contains($0) })
    else { return nil }
    var host = description[..<colon]
    if host.hasPrefix("["), host.hasSuffix("]") {
      host = host.dropFirst().dropLast()
    } else if host.contains(":") {
      return nil
    }
    guard !host.isEmpty else { return nil }
    self = .tcp(host: String(host), port: Int(port))
  }

  public var description: String {
    switch self {
    case .unix(let path): "unix:\(path)"
    case .tcp(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }
  }

  /// What an address may look like, for messages.
  public static let form =
    "unix:PATH with a path of at most \(unixPathBytesMax) bytes, or HOST:PORT with a port up to 65535"
}
