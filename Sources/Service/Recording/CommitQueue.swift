/// Decides which writer commits what, and when: the scheduler of group commit. Pure: what happens goes in, with its time;
/// what is to be done comes out.
///
/// If no batch is under way, a free writer commits all that waits in one transaction. While a batch is under way, few rows wait
/// for its end, because two small commits cost twice as much as one. Another writer takes them when they are
/// `secondBatchRowsMin` or more, or when it has waited for `patience` and the batch that was begun last has taken as long. A
/// writer that has begun to wait is not woken for less than a full batch, because more rows make its commit cheaper for each.
///
/// A tenant that records alone gives way to the reads of others: its next batch begins later, by the time that the queue is
/// told, unless another tenant records.
///
/// A writer without a connection takes nothing while another has one.
struct CommitQueue<Submission>: ~Copyable {
  typealias Instant = ContinuousClock.Instant
  typealias Queue = FairQueue<TenantKey, Submission>
  typealias Ticket = Queue.Ticket

  /// What a writer does next.
  enum Action {
    /// Commit these, and tell by `written`.
    case write([Submission])
    /// It is needed: connect, and tell by `connected`.
    case connect
    /// Sleep until it is woken, or until that time, and tell by `becameFree`.
    case sleep(until: Instant?)
    case stop
  }

  /// What comes of an event of a writer's.
  struct Step {
    var action: Action
    /// Another writer to wake.
    var wake: Int?

    init(_ action: Action, wake: Int? = nil) {
      self.action = action
      self.wake = wake
    }
  }

  enum Enqueued {
    /// It waits for its commit, and that writer is to be woken.
    case waits(Ticket, wake: Int?)
    case full
    case closed
  }

  private enum Activity: Equatable {
    /// It is about to tell that it is free.
    case awake
    /// For the end of the batch under way, or of the patience with it.
    case waiting(since: Instant)
    /// It has no connection, and leaves the work to another that has.
    case parked(until: Instant)
    /// All that waits is of the tenant that gives way.
    case givingWay
    case idle
    case writing(since: Instant)
    case stopped
  }

  private struct Writer {
    var activity = Activity.awake
    /// As far as is known; nil before it was needed.
    var isConnected: Bool?

    var isWaiting: Bool { if case .waiting = activity { true } else { false } }
    var writeBegan: Instant? { if case .writing(let since) = activity { since } else { nil } }
    var isAsleep: Bool {
      switch activity {
      case .waiting, .parked, .givingWay, .idle: true
      case .awake, .writing, .stopped: false
      }
    }
  }

  /// So many rows do not wait for a batch that is under way.
  static var secondBatchRowsMin: Int { 32 }
  /// Nor do any for longer than this.
  static var patience: Duration { .milliseconds(5) }
  /// A batch that has taken this long is waited for no more.
  static var stuckAfter: Duration { .milliseconds(50) }
  /// After which a writer without a connection tries again.
  static var connectPause: Duration { .seconds(1) }

  private let batchMax: Queue.Size
  private var queue: Queue
  private var writers: [Writer]
  /// The one that came last is woken first.
  private var idle: [Int] = []
  private var isClosed = false
  /// The tenant that gives way, and until when.
  private var givesWay: (tenant: TenantKey, until: Instant)?

  init(writerCount: Int, queue: Queue, batchMax: Queue.Size) {
    self.queue = queue
    self.batchMax = batchMax
    writers = Array(repeating: Writer(), count: writerCount)
  }

  // MARK: Callers' events

  mutating func enqueue(_ submission: Submission, of tenant: TenantKey, size: Queue.Size) -> Enqueued {
    if isClosed { return .closed }
    guard let ticket = queue.enqueue(submission, of: tenant, size: size) else { return .full }
    let isOfOther = givesWay.map { $0.tenant != tenant } ?? false
    return .waits(ticket, wake: (isOfOther ? wakeGivingWay() : nil) ?? wakeWriter())
  }

  /// Takes it off the queue; nil where a writer has it already.
  mutating func cancel(_ ticket: Ticket) -> Submission? { queue.remove(ticket) }

  /// No more is taken; what waits is still written.
  ///
  /// - Returns: the writers to wake.
  mutating func close() -> [Int] {
    isClosed = true
    let asleep = writers.indices.filter { writers[$0].isAsleep }
    for writer in asleep { noteWoken(writer) }
    return asleep
  }

  // MARK: Writers' events

  /// A writer has begun, or was woken, or has slept for as long as it was to.
  mutating func becameFree(_ writer: Int, at now: Instant) -> Step {
    if let place = idle.firstIndex(of: writer) { idle.remove(at: place) }
    guard !queue.isEmpty else { return Step(rest(writer)) }
    if let step = park(writer, at: now) { return step }
    if let step = giveWay(writer, at: now) { return step }
    if let step = wait(writer, at: now) { return step }
    guard writers[writer].isConnected != nil else {
      writers[writer].activity = .awake
      return Step(.connect)
    }
    writers[writer].activity = .writing(since: now)
    let batch = nextBatch()
    return Step(.write(batch), wake: queue.isEmpty ? nil : wakeIdle())
  }

  /// A writer's batch has ended.
  ///
  /// - Parameter givingWay: of a batch of one tenant, how long that one is to leave the database to others' reads.
  mutating func written(
    by writer: Int, isConnected: Bool, givingWay: (tenant: TenantKey, time: Duration)? = nil, at now: Instant
  ) -> Step {
    if let (tenant, time) = givingWay {
      // Two writers' times add up: while one gives way the other has had its batch.
      let since = givesWay.flatMap { $0.tenant == tenant ? max($0.until, now) : nil } ?? now
      givesWay = (tenant, since + time)
    }
    writers[writer].activity = .awake
    writers[writer].isConnected = isConnected
    return becameFree(writer, at: now)
  }

  /// A writer has its connection, or could not make it.
  mutating func connected(_ writer: Int, _ isConnected: Bool, at now: Instant) -> Step {
    writers[writer].isConnected = isConnected
    return becameFree(writer, at: now)
  }

  // MARK: Its state

  /// What waits.
  var size: Queue.Size { queue.size }

  /// How long the slowest writer has been at its batch; nil where none is at one.
  func longestWrite(at now: Instant) -> Duration? {
    var longest: Duration?
    for writer in writers {
      guard let began = writer.writeBegan else { continue }
      longest = max(longest ?? .zero, now - began)
    }
    return longest
  }

  /// What waits need not wait for a batch under way.
  private var mayBegin: Bool {
    isClosed || queue.size.count >= Self.secondBatchRowsMin || lastWriteBegan == nil
  }

  /// Of the batches under way.
  private var lastWriteBegan: Instant? {
    var last: Instant?
    for writer in writers {
      guard let began = writer.writeBegan else { continue }
      last = max(last ?? began, began)
    }
    return last
  }

  // MARK: Steps

  /// Has a writer leave what waits to the batches under way, for as long as it has patience with the last of them.
  private mutating func wait(_ writer: Int, at now: Instant) -> Step? {
    guard !mayBegin, let began = lastWriteBegan, now - began < Self.stuckAfter else { return nil }
    var since = now
    if case .waiting(let start) = writers[writer].activity { since = start }
    let until = max(since, began) + Self.patience
    guard now < until else { return nil }
    writers[writer].activity = .waiting(since: since)
    return Step(.sleep(until: until))
  }

  /// Has a writer leave what waits of a tenant that gives way.
  private mutating func giveWay(_ writer: Int, at now: Instant) -> Step? {
    guard let (tenant, until) = givesWay else { return nil }
    guard now < until, !isClosed, queue.isOf(only: tenant) else {
      if now >= until { givesWay = nil }
      return nil
    }
    writers[writer].activity = .givingWay
    return Step(.sleep(until: until))
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
    return Step(.sleep(until: until), wake: wakeIdle())
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

  /// The writer to wake for what was enqueued just now.
  private mutating func wakeWriter() -> Int? {
    let waiting = writers.firstIndex(where: \.isWaiting)
    if mayBegin || waiting == nil, let writer = wakeIdle() { return writer }
    guard let waiting, !queue.size.fits(into: batchMax) else { return nil }
    noteWoken(waiting)
    return waiting
  }

  /// Another tenant's rows do not wait for one that gives way.
  private mutating func wakeGivingWay() -> Int? {
    let givingWay = writers.indices.filter { writers[$0].activity == .givingWay }
    guard let writer = givingWay.first(where: { writers[$0].isConnected == true }) ?? givingWay.first else {
      return nil
    }
    noteWoken(writer)
    return writer
  }

  /// One that has its connection first, so that no more are made than are needed.
  private mutating func wakeIdle() -> Int? {
    guard let writer = idle.last(where: { writers[$0].isConnected == true }) ?? idle.last else { return nil }
    noteWoken(writer)
    return writer
  }

  private mutating func noteWoken(_ writer: Int) {
    idle.removeAll { $0 == writer }
    writers[writer].activity = .awake
  }

  private mutating func rest(_ writer: Int) -> Action {
    if isClosed {
      writers[writer].activity = .stopped
      return .stop
    }
    writers[writer].activity = .idle
    idle.append(writer)
    return .sleep(until: nil)
  }

  private func isAnotherConnected(than writer: Int) -> Bool {
    writers.indices.contains { $0 != writer && writers[$0].isConnected == true }
  }
}

extension CommitQueue.Action: Sendable where Submission: Sendable {}
extension CommitQueue.Step: Sendable where Submission: Sendable {}
