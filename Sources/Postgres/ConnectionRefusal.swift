import CLibpq
import Glibc

/// Why PostgreSQL takes no connection, where to wait does not help. libpq tells the SQLSTATE of a connection that was refused
/// in its verbose words alone, so this connects once more to find out.
package enum ConnectionRefusal: Sendable {
  /// libpq cannot read the connection string.
  case unreadableURL(String)
  case databaseMissing(String)
  /// The role is missing, may not log in, or has not shown who it is.
  case userRefused(String)

  private static let connectMillisecondsMax: CInt = 5000

  /// nil where the connection is made, and for any other reason that it is not. It blocks its thread.
  package init?(url: String) {
    if let fault = Self.fault(inURL: url) {
      self = .unreadableURL(fault)
      return
    }
    let keywords = ConnectionConfiguration(url: url, applicationName: "parley").keywords(of: .owner)
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

  /// What libpq finds wrong with a URI or a keyword string. (Anything else names a database.)
  private static func fault(inURL url: String) -> String? {
    guard url.contains("=") || url.hasPrefix("postgres://") || url.hasPrefix("postgresql://") else { return nil }
    var message: UnsafeMutablePointer<CChar>?
    if let options = PQconninfoParse(url, &message) {
      PQconninfoFree(options)
      return nil
    }
    defer { PQfreemem(message) }
    return message.map { String(cString: $0).split(separator: "\n").joined(separator: " ") } ?? "not enough memory"
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
