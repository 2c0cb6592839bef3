import Core
import NIOCore
import Synchronization

/// What the peers of all connections have not read of their responses. Where that is too much, the connections
/// are closed that hold most of it for longest.
final class ResponseMemory: Sendable {
  private struct Holder {
    var bytes: Int
    /// When the peer last read a part.
    var readAt: NIODeadline
    var close: @Sendable (Int) -> Void

    func weight(at now: NIODeadline) -> Double {
      Double(bytes) * Double((now - readAt).nanoseconds + 1_000_000)
    }
  }

  private struct State {
    var bytes = 0
    var holders: [ObjectIdentifier: Holder] = [:]
  }

  private let bytesMax: Int
  private let state = Mutex(State())

  init(bytesMax: Int = Limits.unreadResponseBytesMax) {
    self.bytesMax = bytesMax
  }

  /// Of connections that hold enough to be counted.
  var bytes: Int { state.withLock { $0.bytes } }

  /// A connection holds so many bytes now.
  ///
  /// - Parameter close: closes the connection, told how much it held.
  fileprivate func update(
    _ id: ObjectIdentifier, bytes: Int, hasRead: Bool, at now: NIODeadline, close: @escaping @Sendable (Int) -> Void
  ) {
    let closed = state.withLock { state in
      let before = state.holders[id]
      state.bytes += bytes - (before?.bytes ?? 0)
      let readAt = hasRead ? now : before?.readAt ?? now
      state.holders[id] = bytes == 0 ? nil : Holder(bytes: bytes, readAt: readAt, close: close)
      var closed: [Holder] = []
      while state.bytes > bytesMax,
        let (id, heaviest) = state.holders.max(by: { $0.value.weight(at: now) < $1.value.weight(at: now) })
      {
        state.holders[id] = nil
        state.bytes -= heaviest.bytes
        closed.append(heaviest)
      }
      return closed
    }
    for holder in closed { holder.close(holder.bytes) }
  }
}

/// What the peer of one connection has not read of its responses. Used on the connection's event loop alone.
///
/// The server's sum is told of it by pieces: small calls cost no lock, and what a connection holds below a
/// piece is not in the sum.
final class UnreadResponses {
  private static let pieceBytes = 64 * 1024

  private let memory: ResponseMemory
  private let loop: any EventLoop
  private let close: @Sendable (Int) -> Void
  private var told = 0
  private(set) var bytes = 0

  /// - Parameter close: closes the connection, which holds too much; called from anywhere.
  init(memory: ResponseMemory, loop: any EventLoop, close: @escaping @Sendable (Int) -> Void) {
    self.memory = memory
    self.loop = loop
    self.close = close
  }

  /// More than the calls' own bounds allow: the connection is to be closed.
  var isTooMuch: Bool { bytes > Limits.unreadResponseBytesPerConnectionMax + Limits.frameBytesMax }

  /// Written, and not read yet.
  func add(_ count: Int) { set(bytes + count) }

  /// The peer has read that much.
  func remove(_ count: Int) { set(bytes - count) }

  func set(_ newBytes: Int) {
    let hasRead = newBytes < bytes
    bytes = newBytes
    guard abs(bytes - told) >= Self.pieceBytes || (bytes == 0 && told > 0) else { return }
    tell(hasRead: hasRead)
  }

  /// The connection is gone, and what it held with it.
  func end() {
    bytes = 0
    if told > 0 { tell(hasRead: true) }
  }

  private func tell(hasRead: Bool) {
    told = bytes
    memory.update(ObjectIdentifier(self), bytes: bytes, hasRead: hasRead, at: loop.now, close: close)
  }
}
