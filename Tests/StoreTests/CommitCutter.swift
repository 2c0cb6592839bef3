import Foundation
import Glibc
import Synchronization
import TestSupport

/// Stands between a client and PostgreSQL, on a Unix socket of its own. The first time PostgreSQL says
/// that a COMMIT is done, the client never hears it: the connection ends instead.
final class CommitCutter: Sendable {
  /// To be added to a keyword string, so that the client connects here.
  let url: String
  private let directory: String
  private let listener: CInt
  private let upstream: String
  private let mayCut = Atomic(true)

  var hasCut: Bool { !mayCut.load(ordering: .sequentiallyConsistent) }

  init(_ session: DatabaseSession) throws {
    let port = try session.sql("SHOW port")[0][0]
    let file = ".s.PGSQL.\(port)"
    upstream = try session.sql("SHOW unix_socket_directories")[0][0] + "/" + file
    directory = "/tmp/parley-cutter-\(UUID().uuidString.prefix(8))"
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
      Thread { link.pump(from: client, to: server) { _ in true } }.start()
      Thread { [self] in
        // PostgreSQL's CommandComplete.
        link.pump(from: server, to: client) {
          Data($0).range(of: Data("COMMIT\0".utf8)) == nil
            || !mayCut.exchange(false, ordering: .sequentiallyConsistent)
        }
      }.start()
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
