import Core

/// Outcomes that became known together, on their way to their completions: each executor is called upon once.
struct CompletionBundle<Value: Sendable> {
  /// So many are completed in one go, so that an executor can do something else in between.
  private let turnCount: Int

  private struct Entry {
    var outcome: Completion<Value>.Outcome
    var completion: Completion<Value>
  }

  private var entries: [ObjectIdentifier: (executor: any CompletionExecutor, entries: [Entry])] = [:]

  init(turnCount: Int) {
    self.turnCount = turnCount
  }

  mutating func add(_ outcome: Completion<Value>.Outcome, to completion: Completion<Value>) {
    let executor = completion.executor
    entries[executor.thread, default: (executor, [])].entries.append(Entry(outcome: outcome, completion: completion))
  }

  func send() {
    for (executor, entries) in entries.values {
      for start in stride(from: 0, to: entries.count, by: turnCount) {
        let turn = entries[start..<min(start + turnCount, entries.count)]
        executor.execute { for entry in turn { entry.completion.completeInPlace(entry.outcome) } }
      }
    }
  }
}
