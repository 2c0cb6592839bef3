import Core
import Glibc
import Messages
import NIOCore
import NIOPosix

/// Puts a workload upon a server and measures it: one event loop with all connections on it.
public enum LoadRunner {
  /// Why a run could not begin.
  public struct Failure: Error, CustomStringConvertible {
    public var description: String
  }

  /// Runs until the plan's end. Cancelling the task ends it early, with what was measured so far.
  ///
  /// - Parameter progress: called each second.
  public static func run(
    _ workload: Workload, _ plan: LoadPlan, progress: (@Sendable (LoadProgress) -> Void)? = nil
  ) async throws -> LoadReport {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let loop = group.next()
    let interruption = loop.makePromise(of: Void.self)
    do {
      let report = try await withTaskCancellationHandler {
        try await loop.flatSubmit { start(workload, plan, on: loop, interruption.futureResult, progress) }.get()
      } onCancel: {
        interruption.succeed()
      }
      interruption.succeed()
      try await group.shutdownGracefully()
      return report
    } catch {
      interruption.succeed()
      try await group.shutdownGracefully()
      throw error
    }
  }

  private static func start(
    _ workload: Workload, _ plan: LoadPlan, on loop: any EventLoop, _ interruption: EventLoopFuture<Void>,
    _ progress: (@Sendable (LoadProgress) -> Void)?
  ) -> EventLoopFuture<LoadReport> {
    let done = loop.makePromise(of: LoadReport.self)
    let driver = LoadDriver(workload, plan: plan, loop: loop, done: done)
    let opener = ConnectionOpener(driver, workload, plan)
    let opened = (0..<plan.connections).map { _ in opener.open(on: loop) }
    let bound = NIOLoopBound(driver, eventLoop: loop)
    EventLoopFuture.whenAllSucceed(opened, on: loop).whenComplete { result in
      switch result {
      case .success(let connections):
        bound.value.start(connections.map(\.value))
        interruption.whenSuccess { bound.value.stop(isInterrupted: true) }
      case .failure(let error):
        done.fail(Failure(description: "no connection to \(plan.address): \(inWords(error))"))
      }
    }
    if let progress {
      let task = loop.scheduleRepeatedTask(initialDelay: .seconds(1), delay: .seconds(1)) { _ in
        progress(bound.value.progress)
      }
      done.futureResult.whenComplete { _ in task.cancel() }
    }
    return done.futureResult
  }

  private static func inWords(_ error: any Error) -> String {
    switch error {
    case let error as NIOConnectionError where !error.connectionErrors.isEmpty:
      inWords(error.connectionErrors[0].error)
    case let error as NIOConnectionError: "the name \(error.host) leads to no address"
    case let error as IOError: String(cString: strerror(error.errnoCode))
    case ChannelError.connectTimeout: "nobody answers"
    default: "\(error)"
    }
  }
}

/// Opens connections that are ready for calls.
private struct ConnectionOpener {
  private let driver: LoadDriver
  private let plan: LoadPlan
  private let envelopes: TTRPCLoadConnection.Envelopes
  private let requests: RequestFields

  init(_ driver: LoadDriver, _ workload: Workload, _ plan: LoadPlan) {
    self.driver = driver
    self.plan = plan
    envelopes = TTRPCLoadConnection.Envelopes(workload, timeoutSeconds: plan.timeoutSeconds)
    requests = GRPCLoadConnection.requests(workload, timeoutSeconds: plan.timeoutSeconds)
  }

  func open(on loop: any EventLoop) -> EventLoopFuture<NIOLoopBound<any LoadConnection>> {
    let ready = loop.makePromise(of: NIOLoopBound<any LoadConnection>.self)
    let bound = NIOLoopBound(self, eventLoop: loop)
    let bootstrap = ClientBootstrap(group: loop)
      .connectTimeout(.seconds(5))
      .channelInitializer { channel in
        loop.makeCompletedFuture { try bound.value.addHandlers(to: channel, ready) }
      }
    let channel =
      switch plan.address {
      case .unix(let path): bootstrap.connect(unixDomainSocketPath: path)
      case .tcp(let host, let port):
        bootstrap.channelOption(.tcpOption(.tcp_nodelay), value: 1).connect(host: host, port: port)
      }
    channel.whenFailure { ready.fail($0) }
    let patience = loop.scheduleTask(in: .seconds(10)) {
      ready.fail(LoadRunner.Failure(description: "the server does not speak the protocol"))
    }
    ready.futureResult.whenComplete { _ in patience.cancel() }
    return ready.futureResult
  }

  private func addHandlers(to channel: any Channel, _ ready: EventLoopPromise<NIOLoopBound<any LoadConnection>>) throws
  {
    switch plan.transport {
    case .ttrpc:
      let connection = TTRPCLoadConnection(driver, envelopes, callsMax: plan.callsInFlight, ready)
      try channel.pipeline.syncOperations.addHandler(connection)
    case .grpc:
      let connection = GRPCLoadConnection(driver, requests, callsMax: plan.callsInFlight, ready)
      try channel.pipeline.syncOperations.addHandler(connection)
    }
  }
}
