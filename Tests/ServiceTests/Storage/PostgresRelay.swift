import Foundation
import Glibc
import TestSupport

/// Stands between clients and PostgreSQL, on a Unix socket of its own.
final class PostgresRelay: Sendable {
  enum Direction { case toServer, toClient }

  /// To be added to a keyword string, so that the client connects here.
  let url: String
  private let directory: String
  private let listener: CInt
  private let upstream: String
  private let mayPass: @Sendable (Direction, UnsafeRawBufferPointer) -> Bool

  /// - Parameter mayPass: is shown all bytes, and ends their connection by false.
  init(_ session: DatabaseSession, mayPass: @escaping @Sendable (Direction, UnsafeRawBufferPointer) -> Bool) throws {
    self.mayPass = mayPass
    let port = try session.sql("SHOW port")[0][0]
    let file = ".s.PGSQL.\(port)"
    upstream = try session.sql("SHOW unix_socket_directories")[0][0] + "/" + file
    directory = "/tmp/parley-relay-\(UUID().uuidString.prefix(8))"
    url = "host=\(directory)"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: false)
    listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    let bound = Self.withAddress("\(directory)/\(file)") { bind(listener, $0, $1) }
    guard bound == 0, listen(listener, 16) == 0 else {
      throw POSIXError(POSIXErrorCode(rawValue: errno)!)
    }
    Thread { [self] in accept() }.start()
  }

  func close() {
    _ = shutdown(listener, Int32(SHUT_RDWR))
    try? FileManager.default.removeItem(atPath: directory)
  }

  private func accept() {
    while true {
      let client = Glibc.accept(listener, nil, nil)
      guard client >= 0 else { break }
      let server = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
      let link = Link(client: client, server: server)
      guard Self.withAddress(upstream, { connect(server, $0, $1) }) == 0 else { continue }
      Thread { [self] in link.pump(from: client, to: server) { mayPass(.toServer, $0) } }.start()
      Thread { [self] in link.pump(from: server, to: client) { mayPass(.toClient, $0) } }.start()
    }
    Glibc.close(listener)
  }

  private static func withAddress<R>(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    return withUnsafeBytes(of: &address) {
      body($0.baseAddress!.assumingMemoryBound(to: sockaddr.self), socklen_t($0.count))
    }
  }

  /// A client's connection and PostgreSQL's. Owns both.
  private final class Link: Sendable {
    private let client: CInt
    private let server: CInt

    init(client: CInt, server: CInt) {
      self.client = client
      self.server = server
    }

    deinit {
      Glibc.close(client)
      Glibc.close(server)
    }

    /// Hands bytes on until either side ends, or `mayPass` says no.
    func pump(from source: CInt, to target: CInt, mayPass: (UnsafeRawBufferPointer) -> Bool) {
      withUnsafeTemporaryAllocation(byteCount: 65_536, alignment: 1) { buffer in
        while true {
          let count = recv(source, buffer.baseAddress, buffer.count, 0)
          guard count > 0, mayPass(UnsafeRawBufferPointer(rebasing: buffer[..<count])) else { break }
          var sent = 0
          while sent < count {
            let written = send(target, buffer.baseAddress! + sent, count - sent, Int32(MSG_NOSIGNAL))
            guard written > 0 else { break }
            sent += written
          }
          guard sent == count else { break }
        }
      }
      _ = shutdown(client, Int32(SHUT_RDWR))
      _ = shutdown(server, Int32(SHUT_RDWR))
    }
  }
}
