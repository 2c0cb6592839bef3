public import Core
import Foundation
import Glibc
public import Logging
import Messages
import NIOCore
import NIOExtras
import NIOPosix
public import ServiceLifecycle
import Synchronization

/// The listeners and all that connects to them. `run()` serves until graceful shutdown, then drains:
/// no new connections and calls, answers to all in flight, a bounded wait.
public final class ParleyServer: Service {
  public struct Configuration: Sendable {
    public var addresses: [Address]
    /// The permissions of Unix sockets' files.
    public var socketMode: UInt32

    /// How gRPC connections are kept and ended.
    public var grpc = GRPCConnectionConfiguration()
    /// How many connections may be open; see `DescriptorLimit`.
    public var connectionsMax = Limits.connectionsMax
    /// These for tests, which do not wait as long and do not send as much.
    package var unreadResponseTimeout = Duration.seconds(Limits.unreadResponseSecondsMax)
    package var unreadResponseBytesMax = Limits.unreadResponseBytesMax
    package var undecidedConnectionsMax = Limits.undecidedConnectionsMax
    package var strangerIdleTime = Duration.seconds(Limits.strangerIdleSecondsMax)

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
  private let requests = RequestMemory()
  private let responses: ResponseMemory
  private let logger: Logger
  private let onListening: @Sendable ([Address]) -> Void
  private let connections: ConnectionTable
  private let group: any EventLoopGroup
  /// Of each of its event loops.
  private let turns: [ObjectIdentifier: LoopTurns]

  /// - Parameters:
  ///   - health: told that the server drains.
  ///   - onListening: told the addresses once all are listened on, with the ports the system chose.
  public init(
    _ configuration: Configuration, dispatcher: Dispatcher, health: Health, logger: Logger,
    onListening: @escaping @Sendable ([Address]) -> Void
  ) {
    self.configuration = configuration
    self.dispatcher = dispatcher
    self.health = health
    self.logger = logger
    self.onListening = onListening
    self.group = MultiThreadedEventLoopGroup.singleton
    let large = LargeRequests()
    self.turns = Dictionary(
      uniqueKeysWithValues: group.makeIterator().map {
        (ObjectIdentifier($0), LoopTurns($0, large: large, hasSockets: true))
      })
    self.responses = ResponseMemory(bytesMax: configuration.unreadResponseBytesMax)
    self.connections = ConnectionTable(
      listeners: configuration.addresses.count, connectionsMax: configuration.connectionsMax,
      undecidedMax: configuration.undecidedConnectionsMax)
  }

  public func run() async throws {
    var listeners: [Listener] = []
    do {
      for (number, address) in configuration.addresses.enumerated() {
        listeners.append(try await listen(on: address, number: number))
      }
    } catch {
      await close(listeners)
      throw error
    }
    onListening(listeners.map(\.address))
    try? await gracefulShutdown()
    await drain(listeners)
  }

  private func listen(on address: Address, number: Int) async throws -> Listener {
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
        channel.eventLoop.makeCompletedFuture { try self.accept(channel, by: number) }
      }
    do {
      switch address {
      case .tcp(let host, let port):
        let channel = try await bootstrap.childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
          // A peer whose machine is gone says nothing; ttRPC has no messages to ask it with.
          .childChannelOption(.socketOption(.so_keepalive), value: 1)
          .childChannelOption(.tcpOption(.init(rawValue: TCP_KEEPIDLE)), value: 60)
          .childChannelOption(.tcpOption(.init(rawValue: TCP_KEEPINTVL)), value: 20)
          .childChannelOption(.tcpOption(.init(rawValue: TCP_KEEPCNT)), value: 3)
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
    } catch {
      throw ListenFailure(address, error)
    }
  }

  private func accept(_ channel: any Channel, by listener: Int) throws {
    guard let connection = connections.add(channel, listener: listener) else {
      throw ListenFailure(description: "too many connections")
    }
    channel.closeFuture.whenComplete { _ in connection.closed() }
    let sniffer = ProtocolSniffer(connection: connection, logger: logger) { [self] sniff, context in
      switch sniff {
      case .ttrpc: (try? addTTRPC(to: context, connection)) != nil
      case .http2: (try? addGRPC(to: context, connection)) != nil
      default: false
      }
    }
    try channel.pipeline.syncOperations.addHandler(sniffer)
  }

  private func addTTRPC(to context: ChannelHandlerContext, _ connection: AcceptedConnection) throws {
    let unread = unreadResponses(of: context.channel)
    let runner = CallRunner(
      interceptors: dispatcher.interceptors, memory: memory, unread: unread,
      turns: turns[ObjectIdentifier(context.eventLoop)]!)
    let edge = ConnectionEdge()
    let unfinished = UnfinishedRequests(memory: requests, connection: connection)
    let handler = TTRPCHandler(
      dispatcher: dispatcher, runner: runner, unread: unread, unfinished: unfinished, edge: edge,
      connection: connection, configuration: configuration, loop: context.eventLoop, logger: logger)
    try context.pipeline.syncOperations.addHandlers([edge, handler])
  }

  private func addGRPC(to context: ChannelHandlerContext, _ connection: AcceptedConnection) throws {
    let unread = unreadResponses(of: context.channel)
    let runner = CallRunner(
      interceptors: dispatcher.interceptors, memory: memory, unread: unread,
      turns: turns[ObjectIdentifier(context.eventLoop)]!)
    let edge = ConnectionEdge()
    let unfinished = UnfinishedRequests(memory: requests, connection: connection)
    let handler = GRPCHandler(
      dispatcher: dispatcher, runner: runner, unread: unread, unfinished: unfinished, edge: edge,
      connection: connection,
      configuration: configuration.grpc, unreadResponseTimeout: configuration.unreadResponseTimeout,
      loop: context.eventLoop, logger: logger)
    // One after the other: the second writes through the first as soon as it is added.
    try context.pipeline.syncOperations.addHandler(edge)
    try context.pipeline.syncOperations.addHandler(handler)
  }

  private func unreadResponses(of channel: any Channel) -> UnreadResponses {
    UnreadResponses(memory: responses, loop: channel.eventLoop) { [logger] bytes in
      let reason = "the responses that are not read fill the server's memory for them; here are \(bytes) bytes of them"
      logger.info("closing a connection", metadata: ["reason": "\(reason)"])
      channel.close(promise: nil)
    }
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
