/// Decides which writer commits what, and when: the scheduler of group commit, as a value without a clock of its own.
///
/// A free writer commits all that waits in one transaction. While one batch is under way few more rows wait for its
/// end, for two small commits cost twice as much as one; from `secondBatchRowsMin` on, or after `patience`, another
/// writer takes them. A writer that has begun to wait is not called for less than a full batch: what gathers
/// meanwhile makes its commit cheaper for each row.
///
/// A writer without a connection takes nothing while another has one.
struct CommitQueue<Submission> {
  typealias Instant = ContinuousClock.Instant
  typealias Queue = FairQueue<TenantKey, Submission>
  typealias Ticket = Queue.Ticket

  /// What a writer does next. `wake` names another that is to ask for its own next step.
  enum Step {
    case write([Submission], wake: Int?)
    /// It asks again at that time, or when it is called.
    case wait(until: Instant, wake: Int?)
    /// It asks again when it is called.
    case idle
    /// It is needed: it connects, says by `connected(_:_:)` whether it could, and asks again.
    case connect
    case stop
  }

  enum Enqueued {
    case waits(Ticket, wake: Int?)
    case full
    case closed
  }

  private enum Activity: Equatable {
    /// It asks for a step, or was called to.
    case awake
    case waiting(until: Instant)
    /// It has no connection, and leaves the work to another that has.
    case parked(until: Instant)
    case idle
    case writing(since: Instant)
    case stopped
  }

  private struct Writer {
    var activity = Activity.awake
    /// As far as is known; nil before it was needed.
    var isConnected: Bool?

    var isWriting: Bool { if case .writing = activity { true } else { false } }
    var isWaiting: Bool { if case .waiting = activity { true } else { false } }
    var isAsleep: Bool {
      switch activity {
      case .waiting, .parked, .idle: true
      case .awake, .writing, .stopped: false
      }
    }
  }

  /// So many rows do not wait for a batch that is under way.
  static var secondBatchRowsMin: Int { 32 }
  /// Nor do any for longer than this.
  static var patience: Duration { .milliseconds(5) }
  /// After which a writer without a connection tries again.
  static var connectPause: Duration { .seconds(1) }

  private let batchMax: Queue.Size
  private var queue: Queue
  private var writers: [Writer]
  /// The one that came last is called first.
  private var idle: [Int] = []
  private var isClosed = false

  init(writerCount: Int, queue: Queue, batchMax: Queue.Size) {
    self.queue = queue
    self.batchMax = batchMax
    writers = Array(repeating: Writer(), count: writerCount)
  }

  var size: Queue.Size { queue.size }

  mutating func enqueue(_ submission: Submission, of tenant: TenantKey, size: Queue.Size) -> Enqueued {
    if isClosed { return .closed }
    guard let ticket = queue.enqueue(submission, of: tenant, size: size) else { return .full }
    return .waits(ticket, wake: callWriter())
  }

  /// Takes it off the queue; nil where a writer has it already.
  mutating func cancel(_ ticket: Ticket) -> Submission? { queue.remove(ticket) }

  mutating func next(for writer: Int, at now: Instant) -> Step {
    if let place = idle.firstIndex(of: writer) { idle.remove(at: place) }
    guard !queue.isEmpty else { return rest(writer) }
    if let step = park(writer, at: now) { return step }
    if case .waiting(let until) = writers[writer].activity {
      if !mayBegin && now < until { return .wait(until: until, wake: nil) }
    } else if !mayBegin {
      writers[writer].activity = .waiting(until: now + Self.patience)
      return .wait(until: now + Self.patience, wake: nil)
    }
    if writers[writer].isConnected == nil { return .connect }
    writers[writer].activity = .writing(since: now)
    let batch = nextBatch()
    return .write(batch, wake: queue.isEmpty ? nil : callIdle())
  }

  /// Has a writer without a connection wait, where another has one. After its pause it connects when it is needed.
  private mutating func park(_ writer: Int, at now: Instant) -> Step? {
    var until = now + Self.connectPause
    if case .parked(let pauseEnd) = writers[writer].activity {
      until = pauseEnd
      if now >= pauseEnd { (writers[writer].activity, writers[writer].isConnected) = (.awake, nil) }
    }
    guard writers[writer].isConnected == false, isAnotherConnected(than: writer) else { return nil }
    writers[writer].activity = .parked(until: until)
    return .wait(until: until, wake: callIdle())
  }

  private mutating func nextBatch() -> [Submission] {
    var batch: [Submission] = []
    var room = batchMax
    // The first always goes, whatever its size.
    var size = queue.size
    while let submission = queue.next(within: batch.isEmpty ? .unlimited : room) {
      batch.append(submission)
      size -= queue.size
      room -= size
      size = queue.size
    }
    return batch
  }

  /// A writer's batch has ended.
  mutating func written(by writer: Int, isConnected: Bool) {
    writers[writer].activity = .awake
    writers[writer].isConnected = isConnected
  }

  mutating func connected(_ writer: Int, _ isConnected: Bool) {
    writers[writer].isConnected = isConnected
  }

  /// No more is taken; what waits is still written.
  ///
  /// - Returns: the writers to wake.
  mutating func close() -> [Int] {
    isClosed = true
    let called = writers.indices.filter { writers[$0].isAsleep }
    for writer in called { call(writer) }
    return called
  }

  /// How long the slowest writer has been at its batch; nil where none is at one.
  func longestWrite(at now: Instant) -> Duration? {
    writers.compactMap { writer in
      if case .writing(let since) = writer.activity { now - since } else { nil }
    }.max()
  }

  private var mayBegin: Bool {
    isClosed || queue.size.count >= Self.secondBatchRowsMin || !writers.contains(where: \.isWriting)
  }

  /// The writer to wake for what was enqueued just now.
  private mutating func callWriter() -> Int? {
    let waiting = writers.firstIndex(where: \.isWaiting)
    if mayBegin || waiting == nil, let writer = callIdle() { return writer }
    guard let waiting, !queue.size.fits(into: batchMax) else { return nil }
    call(waiting)
    return waiting
  }

  /// One that has its connection first, so that no more are made than are needed.
  private mutating func callIdle() -> Int? {
    guard let writer = idle.last(where: { writers[$0].isConnected == true }) ?? idle.last else { return nil }
    call(writer)
    return writer
  }

  private mutating func call(_ writer: Int) {
    idle.removeAll { $0 == writer }
    writers[writer].activity = .awake
  }

  private mutating func rest(_ writer: Int) -> Step {
    if isClosed {
      writers[writer].activity = .stopped
      return .stop
    }
    writers[writer].activity = .idle
    idle.append(writer)
    return .idle
  }

  private func isAnotherConnected(than writer: Int) -> Bool {
    writers.indices.contains { $0 != writer && writers[$0].isConnected == true }
  }
}
