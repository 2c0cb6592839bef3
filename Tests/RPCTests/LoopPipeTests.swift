import Core
import Glibc
import NIOCore
import NIOPosix
import Synchronization
import Testing

@testable import RPC

/// A loop of SwiftNIO that never runs out of work, and a socket of it.
struct LoopPipeTests {
  private static let bytesCount = 100

  /// Adds itself to its executor until it is stopped.
  private final class EndlessWork: Sendable {
    private let executor: TurnExecutor
    private let isStopped = Atomic<Bool>(false)

    init(_ executor: TurnExecutor) {
      self.executor = executor
    }

    func run() {
      if !isStopped.load(ordering: .relaxed) { executor.execute { self.run() } }
    }

    func stop() { isStopped.store(true, ordering: .relaxed) }
  }

  /// Sends itself the next byte when it has read one.
  private final class Echo: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let writeEnd: CInt
    private let done: EventLoopPromise<Void>
    private var count = 0

    init(writeEnd: CInt, done: EventLoopPromise<Void>) {
      self.writeEnd = writeEnd
      self.done = done
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      count += 1
      if count == LoopPipeTests.bytesCount { done.succeed() } else { LoopPipeTests.send(writeEnd) }
    }
  }

  private static func send(_ writeEnd: CInt) {
    _ = withUnsafeBytes(of: UInt8(1)) { write(writeEnd, $0.baseAddress, 1) }
  }

  @Test(.timeLimit(.minutes(1))) func socketsAreLookedAtHoweverMuchWorkIsLeft() async throws {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let loop = group.next()
    let work = EndlessWork(LoopTurns(loop, hasSockets: true).executor(of: Tenant("busy")!))
    var ends: [CInt] = [0, 0]
    try #require(pipe(&ends) == 0)
    let (readEnd, writeEnd) = (ends[0], ends[1])
    let done = loop.makePromise(of: Void.self)
    _ = try await NIOPipeBootstrap(group: loop)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(Echo(writeEnd: writeEnd, done: done))
        }
      }
      .takingOwnershipOfDescriptor(input: readEnd).get()
    work.run()
    Self.send(writeEnd)
    try await done.futureResult.get()
    work.stop()
    try await group.shutdownGracefully()
    close(writeEnd)
  }

  @Test(.timeLimit(.minutes(1))) func workIsGoneOnWithBehindALook() async throws {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let loop = group.next()
    let pipe = LoopPipe(loop)
    let called = loop.makePromise(of: Void.self)
    // The first asks for the pipe, which is there at some time.
    while try await loop.submit({ pipe.signal { called.succeed() } }).get() == false {}
    try await called.futureResult.get()
    try await group.shutdownGracefully()
  }
}
