import Glibc
import Synchronization

/// The process of a private cluster's server: whether it runs.
///
/// PostgreSQL ends itself when its `postmaster.pid` is gone, so that nobody may take it for dead who could not look: a
/// process without descriptors to spare can open neither that file nor /proc. It asks the kernel for the process it
/// knew, which takes none.
final class Postmaster: Sendable {
  enum State: Equatable {
    case running(pid_t)
    /// Whatever its file says: the number may be a stranger's by now, or that of a dead child nobody waited for.
    case dead
    /// It could not be looked, for this reason, and no process was known.
    case unknown(String)
  }

  private enum Look<Value> {
    case found(Value)
    case absent
    case failed(CInt)
  }

  private let file: String
  /// The last that was seen to run.
  private let known = Mutex<pid_t?>(nil)

  /// - Parameter file: its `postmaster.pid`.
  init(file: String) {
    self.file = file
  }

  var state: State {
    known.withLock { known in
      let state = look(known)
      switch state {
      case .running(let pid): known = pid
      case .dead: known = nil
      case .unknown: break
      }
      return state
    }
  }

  private func look(_ known: pid_t?) -> State {
    switch Self.content(of: file) {
    case .found(let text):
      // A file half written names nobody yet.
      guard let pid = text.split(separator: "\n").first.flatMap({ pid_t($0) }) else { return state(of: known) }
      switch Self.isPostgres(pid) {
      case .found(let isPostgres): return isPostgres ? .running(pid) : .dead
      case .absent: return .dead
      case .failed(let number): return pid == known ? state(of: known) : .unknown(String(cString: strerror(number)))
      }
    // It takes its file away shortly before it ends.
    case .absent: return state(of: known)
    case .failed(let number):
      return known == nil ? .unknown(String(cString: strerror(number))) : state(of: known)
    }
  }

  /// As the kernel has it.
  private func state(of known: pid_t?) -> State {
    guard let known else { return .dead }
    // As a container's first process, Parley inherits it.
    _ = waitpid(known, nil, WNOHANG)
    guard kill(known, 0) == 0 || errno == EPERM else { return .dead }
    // A number that is another's by now, where that can be seen.
    if case .found(false) = Self.isPostgres(known) { return .dead }
    return .running(known)
  }

  /// Whether the process is a PostgreSQL that lives.
  private static func isPostgres(_ pid: pid_t) -> Look<Bool> {
    _ = waitpid(pid, nil, WNOHANG)
    switch content(of: "/proc/\(pid)/stat") {
    case .found(let status):
      guard let name = status.lastIndex(of: ")"), status.contains("(postgres)") else { return .found(false) }
      return .found(status[name...].dropFirst(2).first != "Z")
    case .absent: return .absent
    case .failed(let number): return .failed(number)
    }
  }

  private static func content(of path: String) -> Look<String> {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return errno == ENOENT ? .absent : .failed(errno) }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: 4096)
    let count = read(descriptor, &bytes, bytes.count)
    // The process ended between the two.
    if count < 0 { return errno == ESRCH ? .absent : .failed(errno) }
    return .found(String(decoding: bytes[..<count], as: UTF8.self))
  }
}
