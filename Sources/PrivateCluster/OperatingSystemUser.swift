import Foundation

/// Who a private PostgreSQL runs as.
struct OperatingSystemUser {
  var name: String
  var uid: uid_t
  var gid: gid_t

  /// The cluster's owner, where root finds one; the user `postgres` for root otherwise; or oneself.
  static func forPostgres(cluster: String) throws -> OperatingSystemUser {
    let own = geteuid()
    guard own == 0 else { return try user(getpwuid(own), "the user \(own)") }
    let owner = try? FileManager.default.attributesOfItem(atPath: cluster)[.ownerAccountID] as? Int
    if let owner, owner != 0 { return try user(getpwuid(uid_t(owner)), "the owner \(owner) of \(cluster)") }
    return try user(getpwnam("postgres"), "the user postgres, which PostgreSQL runs as under root")
  }

  private static func user(_ entry: UnsafeMutablePointer<passwd>?, _ description: String) throws -> OperatingSystemUser
  {
    guard let entry = entry?.pointee else {
      throw PrivateCluster.Failure(description: "\(description) does not exist on this system")
    }
    return OperatingSystemUser(name: String(cString: entry.pw_name), uid: entry.pw_uid, gid: entry.pw_gid)
  }

  func own(_ path: String, mode: Int) throws {
    try FileManager.default.setAttributes(
      [.posixPermissions: mode, .ownerAccountID: Int(uid), .groupOwnerAccountID: Int(gid)], ofItemAtPath: path)
  }

  /// The words before a command that runs it as this user: util-linux's setpriv. (swift-subprocess 1.0
  /// can change the user itself, but does so between clone and exec with glibc's wrappers, which wait
  /// there for threads the child does not have.)
  var prefix: [String] {
    geteuid() == uid ? [] : ["/usr/bin/setpriv", "--reuid", "\(uid)", "--regid", "\(gid)", "--clear-groups", "--"]
  }
}
