import Foundation

/// Runs an actor's jobs on one thread of its own, where they may block.
///
/// libpq waits on sockets; waiting on the shared threads of Swift concurrency would starve everybody
/// else. The thread lives until the executor is gone and its queue is empty.
final class ThreadExecutor: SerialExecutor {
  private let queue = JobQueue()
  /// Runs tasks there, between the actor's jobs.
  let tasks: ThreadTaskExecutor

  init(name: String) {
    let queue = queue
    tasks = ThreadTaskExecutor(queue)
    let thread = Thread {
      while let (job, executor) = queue.next() {
        switch executor {
        case .serial(let executor): job.runSynchronously(on: executor)
        case .task(let executor): job.runSynchronously(on: executor)
        }
      }
    }
    thread.name = name
    thread.start()
  }

  deinit {
    queue.close()
  }

  func enqueue(_ job: consuming ExecutorJob) {
    queue.add(UnownedJob(job), .serial(asUnownedSerialExecutor()))
  }

  func asUnownedSerialExecutor() -> UnownedSerialExecutor {
    UnownedSerialExecutor(ordinary: self)
  }
}

/// Runs tasks on a `ThreadExecutor`'s thread.
final class ThreadTaskExecutor: TaskExecutor {
  private let queue: JobQueue

  fileprivate init(_ queue: JobQueue) {
    self.queue = queue
  }

  func enqueue(_ job: consuming ExecutorJob) {
    queue.add(UnownedJob(job), .task(asUnownedTaskExecutor()))
  }
}

/// Jobs on their way from any thread to the one that runs them.
private final class JobQueue: @unchecked Sendable {  // `condition` guards the rest.
  enum Executor {
    case serial(UnownedSerialExecutor)
    case task(UnownedTaskExecutor)
  }

  private let condition = NSCondition()
  private var jobs = Fifo<(UnownedJob, Executor)>()
  private var isClosed = false

  func add(_ job: UnownedJob, _ executor: Executor) {
    condition.withLock { jobs.append((job, executor)) }
    // The thread that wakes finds the lock free.
    condition.signal()
  }

  func close() {
    condition.withLock {
      isClosed = true
      condition.signal()
    }
  }

  /// Waits for a job; nil once closed and empty.
  func next() -> (UnownedJob, Executor)? {
    condition.withLock {
      while true {
        if let job = jobs.popFirst() { return job }
        if isClosed { return nil }
        condition.wait()
      }
    }
  }
}
