import Domain
import Foundation
public import Logging
import NIOCore
import NIOExtras
import NIOPosix
public import ServiceLifecycle
import Synchronization
public import Wire

/// The listeners and all that connects to them. `run()` serves until graceful shutdown, then drains:
/// no new connections and calls, answers to all in flight, a bounded wait.
public final class ParleyServer: Service {
  public struct Configuration: Sendable {
    public var addresses: [Address]
    /// The permissions of Unix sockets' files.
    public var socketMode: UInt32

    /// Answers gRPC's questions about the schema.
    public var reflection = false
    /// How gRPC connections are kept and ended.
    public var grpc = GRPCConnectionConfiguration()
    /// For tests, which do not wait as long.
    package var unreadAnswerTimeout = Duration.seconds(Limits.unreadAnswerSecondsMax)

    public init(addresses: [Address], socketMode: UInt32 = 0o660) {
      self.addresses = addresses
      self.socketMode = socketMode
    }
  }

  /// Why the server cannot listen.
  public struct ListenFailure: Error, CustomStringConvertible {
    public var description: String
  }

  private struct Listener {
    var channel: any Channel
    var quiescing: ServerQuiescingHelper
    var address: Address
    var file: UnixSocketFile?
  }

  private let configuration: Configuration
  private let dispatcher: Dispatcher
  private let health: Health
  private let memory = CallMemory()
  private let methods: any GRPCMethods
  private let logger: Logger
  private let onListening: @Sendable ([Address]) -> Void
  private let counts = ConnectionCounts()
  private let group: any EventLoopGroup

  /// - Parameter onListening: told the addresses once all are listened on, with the ports the system chose.
  public convenience init(
    _ configuration: Configuration, dispatcher: Dispatcher, health: Health, logger: Logger,
    onListening: @escaping @Sendable ([Address]) -> Void
  ) throws {
    let methods = ServiceMethods(
      dispatcher: dispatcher, health: health, reflection: configuration.reflection ? try Reflection() : nil)
    self.init(
      configuration, dispatcher: dispatcher, health: health, methods: methods, logger: logger, onListening: onListening)
  }

  /// With other gRPC methods than Parley's, for tests of the layer.
  package init(
    _ configuration: Configuration, dispatcher: Dispatcher, health: Health, methods: any GRPCMethods, logger: Logger,
    onListening: @escaping @Sendable ([Address]) -> Void
  ) {
    self.configuration = configuration
    self.dispatcher = dispatcher
    self.health = health
    self.methods = methods
    self.logger = logger
    self.onListening = onListening
    self.group = MultiThreadedEventLoopGroup.singleton
  }

  public func run() async throws {
    var listeners: [Listener] = []
    do {
      for address in configuration.addresses { listeners.append(try await listen(on: address)) }
    } catch {
      await close(listeners)
      throw error
    }
    onListening(listeners.map(\.address))
    try? await gracefulShutdown()
    await drain(listeners)
  }

  private func listen(on address: Address) async throws -> Listener {
    let quiescing = ServerQuiescingHelper(group: group)
    let bootstrap = ServerBootstrap(group: group)
      .serverChannelOption(.backlog, value: 1024)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelOption(.maxMessagesPerRead, value: 4)
      .serverChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(quiescing.makeServerChannelHandler(channel: channel))
        }
      }
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try self.accept(channel) }
      }
    do {
      switch address {
      case .tcp(let host, let port):
        let channel = try await bootstrap.childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
          .bind(host: host, port: port).get()
        let bound = Address.tcp(host: host, port: channel.localAddress?.port ?? port)
        return Listener(channel: channel, quiescing: quiescing, address: bound)
      case .unix(let path):
        let (file, socket) = try UnixSocketFile.bind(path: path, mode: mode_t(configuration.socketMode))
        let channel = try await bootstrap.withBoundSocket(socket).get()
        return Listener(channel: channel, quiescing: quiescing, address: address, file: file)
      }
    } catch let failure as UnixSocketFile.Failure {
      throw ListenFailure(description: failure.description)
    } catch let error as IOError {
      throw ListenFailure(
        description: "\(address): it cannot be listened on: \(String(cString: strerror(error.errnoCode)))")
    } catch {
      throw ListenFailure(description: "\(address): \(error)")
    }
  }

  private func accept(_ channel: any Channel) throws {
    let counts = counts
    let isWelcome = counts.add(false)
    channel.closeFuture.whenComplete { _ in counts.remove(false) }
    guard isWelcome else { throw ListenFailure(description: "too many connections") }
    let isUndecidedWelcome = counts.add(true)
    let sniffer = ProtocolSniffer(counts: counts, logger: logger) { [self] sniff, context in
      switch sniff {
      case .ttrpc: (try? addTTRPC(to: context)) != nil
      case .http2: (try? addGRPC(to: context)) != nil
      default: false
      }
    }
    // Added even where unwelcome, for it gives back the count when it is removed.
    try channel.pipeline.syncOperations.addHandler(sniffer)
    guard isUndecidedWelcome else { throw ListenFailure(description: "too many undecided connections") }
  }

  private func addTTRPC(to context: ChannelHandlerContext) throws {
    let runner = CallRunner<Reply>(memory: memory, loop: context.eventLoop) { .failure($0) }
    try context.pipeline.syncOperations.addHandler(
      TTRPCHandler(
        dispatcher: dispatcher, runner: runner, unreadAnswerTimeout: configuration.unreadAnswerTimeout, logger: logger))
  }

  private func addGRPC(to context: ChannelHandlerContext) throws {
    let runner = CallRunner<GRPCResponse>(memory: memory, loop: context.eventLoop) { GRPCResponse(.failure($0)) }
    // One after the other: each writes through those before it as soon as it is added.
    let pipeline = context.pipeline.syncOperations
    let handler = GRPCHandler(
      methods: methods, runner: runner, configuration: configuration.grpc,
      unreadAnswerTimeout: configuration.unreadAnswerTimeout, logger: logger)
    try pipeline.addHandler(configuration.grpc.http2Handler())
    try pipeline.addHandler(StreamErrorFilter(onWindow: handler.windowUpdated))
    try pipeline.addHandler(handler)
  }

  private func drain(_ listeners: [Listener]) async {
    logger.info("draining")
    health.setDraining()
    for listener in listeners { listener.file?.remove() }
    let drained = listeners.map { listener in
      let promise = listener.channel.eventLoop.makePromise(of: Void.self)
      listener.quiescing.initiateShutdown(promise: promise)
      return promise.futureResult
    }
    // Each connection closes by itself when its last call is answered, or its time is up.
    try? await EventLoopFuture.andAllComplete(drained, on: group.any()).get()
    logger.info("drained")
  }

  private func close(_ listeners: [Listener]) async {
    for listener in listeners {
      listener.file?.remove()
      try? await listener.channel.close()
    }
  }
}
