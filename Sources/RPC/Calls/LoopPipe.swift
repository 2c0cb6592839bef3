import Glibc
import NIOCore
import NIOPosix
import Synchronization

/// A pipe from an event loop to itself, by which the loop looks at all its sockets before it goes on with something.
/// Owns the pipe, and makes it when it is first asked for.
///
/// A timer does the same, but it has to be set, and the loop sleeps until it is due: that cost 0.8 us of each record on
/// a busy machine.
final class LoopPipe: Sendable {
  private enum State {
    case none
    case beingMade
    case made(writeEnd: CInt)
  }

  private let loop: any EventLoop
  private let state = Mutex(State.none)

  init(_ loop: any EventLoop) {
    self.loop = loop
  }

  deinit {
    // The channel then reads the end, and closes the other one.
    if case .made(let writeEnd) = state.withLock(\.self) { close(writeEnd) }
  }

  /// Has the loop look at its sockets, and then call what the first signal was given. Called on the loop, and again
  /// only after that was called.
  ///
  /// - Returns: false where there is no pipe, or none yet: nothing is called.
  func signal(_ onSignal: @escaping @Sendable () -> Void) -> Bool {
    let old = state.withLock { state in
      let old = state
      if case .none = old { state = .beingMade }
      return old
    }
    switch old {
    case .none: make(onSignal)
    case .beingMade: break
    case .made(let writeEnd): return withUnsafeBytes(of: UInt8(1)) { write(writeEnd, $0.baseAddress, 1) } == 1
    }
    return false
  }

  /// Where no descriptors are left, it is tried again with the next signal.
  private func make(_ onSignal: @escaping @Sendable () -> Void) {
    var ends: [CInt] = [0, 0]
    guard pipe(&ends) == 0 else { return state.withLock { $0 = .none } }
    let (readEnd, writeEnd) = (ends[0], ends[1])
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    _ = fcntl(writeEnd, F_SETFL, O_NONBLOCK)
    NIOPipeBootstrap(group: loop)
      .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 64))
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(LoopPipeHandler(onSignal))
        }
      }
      .takingOwnershipOfDescriptor(input: readEnd)
      .whenComplete { [weak self] result in
        if case .failure = result {
          close(readEnd)
        } else if let self {
          return self.state.withLock { $0 = .made(writeEnd: writeEnd) }
        }
        close(writeEnd)
        self?.state.withLock { $0 = .none }
      }
  }
}

private final class LoopPipeHandler: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer

  private let onSignal: @Sendable () -> Void

  init(_ onSignal: @escaping @Sendable () -> Void) {
    self.onSignal = onSignal
  }

  /// Behind what other sockets of this look have.
  func channelRead(context: ChannelHandlerContext, data: NIOAny) { context.eventLoop.execute(onSignal) }
}
