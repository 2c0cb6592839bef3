import TestSupport

@testable import Service

/// Callers and writers in a time of their own, as the recorder is.
struct CommitQueueWorld: ~Copyable {
  private enum Writer: Equatable {
    case ready
    case asleep(until: Int?)
    case writing([Int], until: Int)
    case stopped
  }

  private var random: SeededGenerator
  private var queue = CommitQueue<Int>(
    writerCount: 2,
    queue: .init(sizeMax: .init(count: 1000), tenantSizeMax: .init(count: 1000), turnCount: 7),
    batchMax: .init(count: 60))
  private var writers = [Writer.ready, .ready]
  private var waiting: Set<Int> = []
  private var written: Set<Int> = []
  private var now = 0
  private var tenantOf: [Int: TenantKey] = [:]
  /// The tenant that gives way, and when it does no longer.
  private var givesWay = (tenant: TenantKey(rawValue: 0), end: 0)
  /// Until when each tenant was told to give way. A writer that sleeps for one sleeps on when another one gives way, too.
  private var givingWayEnds: [TenantKey: Int] = [:]
  private let start = ContinuousClock.now

  init(random: SeededGenerator) { self.random = random }

  /// - Returns: what went wrong.
  mutating func run() -> String? {
    var expected: Set<Int> = []
    while now < 2000 {
      for _ in 0..<Int.random(in: 0...3, using: &random) where now < 1000 {
        let submission = expected.count
        let tenant = TenantKey(rawValue: Int32.random(in: 0..<3, using: &random))
        let rows = Int.random(in: 1...30, using: &random)
        guard case .waits(_, let wake) = queue.enqueue(submission, of: tenant, size: .init(count: rows)) else {
          continue
        }
        expected.insert(submission)
        tenantOf[submission] = tenant
        waiting.insert(submission)
        if let wake { call(wake) }
      }
      for writer in writers.indices {
        if let fault = step(writer) { return fault }
      }
      if !waiting.isEmpty, !isSeenTo { return "calls wait at \(now) and no writer looks after them" }
      now += 1
      if now == 1500 { for writer in queue.close() { call(writer) } }
    }
    if written != expected { return "\(expected.count - written.count) are not written" }
    return writers == [.stopped, .stopped] ? nil : "the writers do not stop"
  }

  /// Every writer is at work, or one that is free will look again in good time.
  private var isSeenTo: Bool {
    let tenants = Set(waiting.map { tenantOf[$0]! })
    let givingWayEnd = tenants.count == 1 ? givingWayEnds[tenants.first!] ?? 0 : 0
    let latest = max(now + 5, givingWayEnd)
    return writers.allSatisfy { if case .writing = $0 { true } else { false } }
      || writers.contains {
        if case .asleep(let until?) = $0 { until > now && until <= latest } else { false }
      }
  }

  private mutating func call(_ writer: Int) {
    if case .asleep = writers[writer] { writers[writer] = .ready }
  }

  /// Sometimes, after a batch of one tenant.
  private mutating func givingWay(after batch: [Int]) -> (tenant: TenantKey, time: Duration)? {
    let tenants = Set(batch.map { tenantOf[$0]! })
    guard tenants.count == 1, Bool.random(using: &random) else { return nil }
    let time = Int.random(in: 0...20, using: &random)
    let tenant = tenants.first!
    givesWay = (tenant, (givesWay.tenant == tenant ? max(givesWay.end, now) : now) + time)
    givingWayEnds[tenant] = max(givingWayEnds[tenant] ?? 0, givesWay.end)
    return (tenant, .milliseconds(time))
  }

  private mutating func step(_ writer: Int) -> String? {
    let instant = start + .milliseconds(now)
    var step: CommitQueue<Int>.Step
    switch writers[writer] {
    case .ready: step = queue.becameFree(writer, at: instant)
    case .asleep(let until?) where until <= now: step = queue.becameFree(writer, at: instant)
    case .writing(let batch, let until) where until <= now:
      step = queue.written(by: writer, isConnected: true, givingWay: givingWay(after: batch), at: instant)
    default: return nil
    }
    while true {
      if let wake = step.wake { call(wake) }
      switch step.action {
      case .write(let batch):
        for submission in batch {
          guard waiting.remove(submission) != nil, written.insert(submission).inserted else {
            return "submission \(submission) is written twice"
          }
        }
        writers[writer] = .writing(batch, until: now + Int.random(in: 1...20, using: &random))
      case .sleep(let until):
        writers[writer] = .asleep(until: until.map { Int((($0 - start) / .milliseconds(1)).rounded()) })
      case .connect:
        step = queue.connected(writer, true, at: instant)
        continue
      case .stop: writers[writer] = .stopped
      }
      return nil
    }
  }
}
