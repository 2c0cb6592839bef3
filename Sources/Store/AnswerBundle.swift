import Domain

/// Answers that became known together, on their way to those who asked: each executor is called upon once.
struct AnswerBundle<Answer: Sendable> {
  private struct Entry {
    var answer: Answer
    var take: @Sendable (Answer) -> Void
  }

  private var entries: [ObjectIdentifier: (executor: any AnswerExecutor, entries: [Entry])] = [:]

  mutating func add(_ answer: Answer, to take: @escaping @Sendable (Answer) -> Void, on executor: any AnswerExecutor) {
    entries[executor.thread, default: (executor, [])].entries.append(Entry(answer: answer, take: take))
  }

  func send() {
    for (executor, entries) in entries.values {
      executor.execute { for entry in entries { entry.take(entry.answer) } }
    }
  }
}
