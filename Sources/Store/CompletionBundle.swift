import Domain

/// Outcomes that became known together, on their way to their completions: each executor is called upon once.
struct CompletionBundle<Value: Sendable> {
  private struct Entry {
    var outcome: Completion<Value>.Outcome
    var completion: Completion<Value>
  }

  private var entries: [ObjectIdentifier: (executor: any CompletionExecutor, entries: [Entry])] = [:]

  mutating func add(_ outcome: Completion<Value>.Outcome, to completion: Completion<Value>) {
    let executor = completion.executor
    entries[executor.thread, default: (executor, [])].entries.append(Entry(outcome: outcome, completion: completion))
  }

  func send() {
    for (executor, entries) in entries.values {
      executor.execute { for entry in entries { entry.completion.completeInPlace(entry.outcome) } }
    }
  }
}
