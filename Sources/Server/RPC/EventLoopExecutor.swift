import Domain
import NIOCore

/// Runs tasks and completions on an event loop, so that a call costs no hop between threads.
final class EventLoopExecutor: TaskExecutor, CompletionExecutor {
  private let loop: any EventLoop

  init(_ loop: any EventLoop) {
    self.loop = loop
  }

  var thread: ObjectIdentifier { ObjectIdentifier(loop) }
  var isCurrent: Bool { loop.inEventLoop }
  var taskExecutor: (any TaskExecutor)? { self }

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    loop.execute { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
  }

  func execute(_ work: @escaping @Sendable () -> Void) {
    loop.execute(work)
  }
}
