import Foundation
import PrivateCluster
import Service

/// A PostgreSQL of a test's own, for what would disturb the others: its processes are to be stopped, or to end.
public final class OwnPostgres: Sendable {
  private let cluster: PrivateCluster
  private let directory: String
  /// Of Parley's own database in it, as its owner.
  public var url: String { cluster.url }

  private init(directory: String) throws {
    self.directory = directory
    cluster = try PrivateCluster(directory: directory, logger: .silent)
  }

  /// Runs `body` with one, with the schema in it.
  public static func with<R>(_ body: (OwnPostgres) async throws -> R) async throws -> R {
    let folder = ProcessInfo.processInfo.environment["PARLEY_TEST_FOLDER"] ?? "/tmp"
    let directory = "\(folder)/parley-\(UUID().uuidString.prefix(8))"
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let server = try OwnPostgres(directory: directory)
    do {
      try await server.cluster.start()
      try await Migrator(url: server.url, logger: .silent).migrate()
      let result = try await body(server)
      await server.stop()
      return result
    } catch {
      await server.stop()
      throw error
    }
  }

  public func session() throws -> DatabaseSession { try DatabaseSession(url: url) }

  /// Sends a signal to some of its processes.
  public func signal(_ number: Int32, _ pids: [Int32]) {
    for pid in pids { kill(pid, number) }
  }

  /// The server's first process, and those that it has started.
  public func processes() throws -> [Int32] {
    let text = try String(contentsOfFile: directory + "/postgres/postmaster.pid", encoding: .utf8)
    guard let first = text.split(separator: "\n").first.flatMap({ Int32($0) }) else { return [] }
    let others = try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap { Int32($0) }.filter { pid in
      // The parent's number is the second field behind the name.
      guard let stat = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
        let name = stat.lastIndex(of: ")")
      else { return false }
      return stat[name...].split(separator: " ").dropFirst(2).first == "\(first)"
    }
    return [first] + others
  }

  private func stop() async {
    signal(SIGCONT, (try? processes()) ?? [])
    await cluster.stop()
  }
}
