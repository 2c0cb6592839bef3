import Domain
import NIOCore

/// Runs tasks on an event loop, so that a call costs no hop between threads, and takes answers there.
final class EventLoopExecutor: TaskExecutor, AnswerExecutor {
  private let loop: any EventLoop

  init(_ loop: any EventLoop) {
    self.loop = loop
  }

  var thread: ObjectIdentifier { ObjectIdentifier(loop) }

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    loop.execute { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
  }

  func execute(_ work: @escaping @Sendable () -> Void) {
    loop.execute(work)
  }
}
