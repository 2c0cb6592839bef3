import Core

/// One call that is about to be sent.
struct OutgoingCall {
  var operation: BenchOperation
  var caller: Int
  /// Of its request message.
  var payloadBytes: Int
}

/// Makes one call after another of a workload. `write` belongs to the last call that `next` gave.
struct CallSource: ~Copyable {
  private let workload: Workload
  private let operations: [BenchOperation]
  private let operationShares: Shares
  /// Of each operation but `record`: the callers that have something to ask for.
  private let askers: [[Int]]
  private var stream: RecordStream
  private var random: SeededRandom
  private var recordCount = 0
  private var items: [RecordStream.Item] = []
  private var request: (operation: BenchOperation, caller: Int, place: Int) = (.record, 0, 0)

  private static let idRequestBytes = 2 + RecordTemplates.keyBytes

  init(_ workload: Workload) {
    self.workload = workload
    let mixed = BenchOperation.allCases.filter { workload.mix[$0, default: 0] > 0 }
    precondition(!mixed.isEmpty, "a workload calls something")
    operations = mixed
    operationShares = Shares(mixed.map { workload.mix[$0, default: 0] })
    askers = BenchOperation.allCases.map { operation in
      workload.callers.indices.filter { Self.requestCount(workload.callers[$0], operation) > 0 }
    }
    stream = workload.stream
    random = SeededRandom(seed: workload.seed ^ 0x6361_6c6c)
    items.reserveCapacity(workload.batch)
  }

  private static func requestCount(_ caller: Workload.Caller, _ operation: BenchOperation) -> Int {
    switch operation {
    case .record: 1
    case .get: caller.ids.count
    case .list: caller.lists.count
    case .stats: caller.stats.count
    }
  }

  mutating func next() -> OutgoingCall {
    let operation = operations[operationShares.pick(&random)]
    if operation == .record { return record() }
    var caller = workload.shares.pick(&random)
    let askers = askers[operation.rawValue]
    if askers.count < workload.callers.count, !askers.contains(caller) {
      caller = askers[random.index(below: askers.count)]
    }
    let place = random.index(below: Self.requestCount(workload.callers[caller], operation))
    request = (operation, caller, place)
    let bytes =
      switch operation {
      case .list: workload.callers[caller].lists[place].count
      case .stats: workload.callers[caller].stats[place].count
      case .record, .get: Self.idRequestBytes
      }
    return OutgoingCall(operation: operation, caller: caller, payloadBytes: bytes)
  }

  /// All records of a call are of one caller.
  private mutating func record() -> OutgoingCall {
    items.removeAll(keepingCapacity: true)
    var bytes = 0
    for _ in 0..<workload.batch {
      if let span = workload.span, recordCount == span.count { break }
      let time = workload.span?.time(of: recordCount) ?? .now
      let item = stream.next(at: time, of: items.first?.tenant)
      recordCount += 1
      bytes += workload.templates.byteCount(item)
      items.append(item)
    }
    let caller = items.first?.tenant ?? 0
    request = (.record, caller, 0)
    return OutgoingCall(operation: .record, caller: caller, payloadBytes: bytes)
  }

  /// How many records the last call records, or asks for.
  var recordsInCall: Int { request.operation == .record ? items.count : request.operation == .get ? 1 : 0 }

  /// Writes the request message of the last call.
  func write(to target: UnsafeMutableRawPointer) {
    switch request.operation {
    case .record:
      var target = target
      for item in items {
        workload.templates.write(item, to: target)
        target += workload.templates.byteCount(item)
      }
    case .get:
      // GetInteractionRequest: id = 1.
      target.storeBytes(of: 0x0a, as: UInt8.self)
      target.storeBytes(of: UInt8(RecordTemplates.keyBytes), toByteOffset: 1, as: UInt8.self)
      writeText(of: workload.callers[request.caller].ids[request.place], to: target + 2)
    case .list: copy(workload.callers[request.caller].lists[request.place], to: target)
    case .stats: copy(workload.callers[request.caller].stats[request.place], to: target)
    }
  }

  private func copy(_ bytes: [UInt8], to target: UnsafeMutableRawPointer) {
    bytes.withUnsafeBytes { source in
      if let base = source.baseAddress { target.copyMemory(from: base, byteCount: source.count) }
    }
  }
}
