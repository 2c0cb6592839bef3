import CLibpq
import Glibc

/// Why PostgreSQL refuses a connection, where waiting does not help. libpq tells the SQLSTATE of a refused connection only in its
/// verbose message, so this connects once more to find out.
package enum ConnectionRefusal: Sendable {
  /// libpq cannot read the connection string.
  case unreadableURL(String)
  case databaseMissing(String)
  /// The role is missing, may not log in, or has not shown who it is.
  case userRefused(String)

  private static let connectMillisecondsMax: CInt = 5000

  /// nil where the connection is made, and for any other reason that it is not. It blocks its thread.
  package init?(_ configuration: ConnectionConfiguration) {
    if let mistake = ConnectionConfiguration.mistake(in: configuration.url) {
      self = .unreadableURL(mistake)
      return
    }
    let keywords = configuration.keywords(of: .owner)
    let names = keywords.map { strdup($0.0) } + [nil]
    let values = keywords.map { strdup($0.1) } + [nil]
    defer { for text in names + values { free(text) } }
    let connection = PQconnectStartParams(names.map { UnsafePointer($0) }, values.map { UnsafePointer($0) }, 1)
    defer { PQfinish(connection) }
    PQsetErrorVerbosity(connection, PQERRORS_VERBOSE)
    guard let connection, !Self.connects(connection) else { return nil }
    let words = String(cString: PQerrorMessage(connection))
    let told = words.firstMatch(of: /: +([0-9][0-9A-Z]{4}): +([^\n]*)/)
    switch told.map({ String($0.1) }) {
    case "3D000": self = .databaseMissing(String(told!.2))
    case "28000", "28P01": self = .userRefused(String(told!.2))
    default:
      guard PQconnectionNeedsPassword(connection) == 1 else { return nil }
      self = .userRefused("it asks for a password, and the connection string has none")
    }
  }

  private static func connects(_ connection: OpaquePointer) -> Bool {
    var step = PGRES_POLLING_WRITING
    while PQstatus(connection) != CONNECTION_BAD {
      switch step {
      case PGRES_POLLING_OK: return true
      case PGRES_POLLING_FAILED: return false
      default:
        var socket = pollfd(
          fd: PQsocket(connection), events: Int16(step == PGRES_POLLING_READING ? POLLIN : POLLOUT), revents: 0)
        guard poll(&socket, 1, connectMillisecondsMax) > 0 else { return false }
        step = PQconnectPoll(connection)
      }
    }
    return false
  }
}
