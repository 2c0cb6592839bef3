import Core
import Glibc
import NIOCore

extension ParleyServer.Configuration {
  /// Whether the addresses can be listened on, asked before anything is made for a server that could not. Only of TCP:
  /// a Unix socket's folder may have to be made first.
  public func checkAddresses() throws(ParleyServer.ListenFailure) {
    for address in addresses {
      guard case .tcp(let host, let port) = address else { continue }
      do {
        try Self.bindOnce(SocketAddress.makeAddressResolvingHost(host, port: port))
      } catch {
        throw ParleyServer.ListenFailure(address, error)
      }
    }
  }

  private static func bindOnce(_ address: SocketAddress) throws {
    func check(_ result: CInt) throws -> CInt {
      guard result >= 0 else { throw IOError(errnoCode: errno, reason: "bind") }
      return result
    }
    let family = address.protocol == .inet6 ? AF_INET6 : AF_INET
    let descriptor = try check(socket(family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0))
    defer { close(descriptor) }
    // As the listener will: a connection that has just ended does not hold its port.
    var isReused: CInt = 1
    _ = try check(setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &isReused, socklen_t(MemoryLayout<CInt>.size)))
    _ = try check(address.withSockAddr { bind(descriptor, $0, socklen_t($1)) })
  }
}

extension ParleyServer.ListenFailure {
  init(_ address: Address, _ error: any Error) {
    switch error {
    case let error as IOError where error.errnoCode == EADDRINUSE:
      description =
        "\(address) (--listen) is in use by another program: stop that program, or give another address with --listen"
    case let error as IOError:
      description = "\(address) (--listen) cannot be listened on: \(String(cString: strerror(error.errnoCode)))"
    case let error as SocketAddressError.UnknownHost:
      description =
        "\(address) (--listen) cannot be listened on: the name \(error.host) leads to no address of this machine"
    default:
      description = "\(address) (--listen) cannot be listened on: \(error)"
    }
  }
}
