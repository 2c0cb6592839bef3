import Foundation
import TestSupport
import Testing

@testable import Postgres

@Suite struct SQLTextTests {
  @Test func leavesOutTheCommentThatAFileBeginsWithAlone() {
    let file = "-- What it is for,\n-- in two lines.\nSELECT 1 -- one\n-- and\n+ 2\n"
    #expect(sqlText(Array(file.utf8)) == "SELECT 1 -- one\n-- and\n+ 2\n")
    #expect(sqlText(Array("SELECT 1".utf8)) == "SELECT 1")
  }
}

@Suite struct FifoTests {
  @Test func keepsTheOrder() {
    var random = SeededGenerator()
    var fifo = Fifo<Int>()
    var (added, taken) = (0, 0)
    for _ in 0..<20_000 {
      if Bool.random(using: &random) {
        fifo.append(added)
        added += 1
      } else {
        #expect(fifo.popFirst() == (taken < added ? taken : nil), "seed \(random.seed)")
        taken = min(taken + 1, added)
      }
    }
  }

  /// As a thread's jobs may: there is always one more.
  @Test func doesNotGrowWhereItIsNeverEmpty() {
    var fifo = Fifo<Int>()
    fifo.append(0)
    for element in 1..<100_000 {
      fifo.append(element)
      _ = fifo.popFirst()
    }
    #expect(fifo.capacity < 1000)
  }

  @Test func givesBackWhatACrowdHasLeft() {
    var fifo = Fifo<Int>()
    for element in 0..<100_000 { fifo.append(element) }
    while fifo.popFirst() != nil {}
    #expect(fifo.capacity <= 1024)
  }
}

@Suite(.timeLimit(.minutes(1))) struct ThreadExecutorTests {
  private actor Counter {
    private let executor = ThreadExecutor(name: "test")
    private(set) var threads: Set<UInt> = []
    private(set) var count = 0

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    func add() {
      count += 1
      threads.insert(pthread_self())
    }
  }

  @Test func runsEveryJobOnItsOwnThread() async {
    let counter = Counter()
    await withTaskGroup { group in
      for _ in 0..<1000 { group.addTask { await counter.add() } }
    }
    #expect(await counter.count == 1000)
    #expect(await counter.threads.count == 1)
  }
}

@Suite struct BackoffTests {
  @Test func waitsAfterAFailureAndNotAfterASuccess() {
    var backoff = Backoff(from: .seconds(1000), to: .seconds(2000))
    #expect(backoff.mayTry)
    backoff.failed()
    #expect(!backoff.mayTry)
    backoff.succeeded()
    #expect(backoff.mayTry)
  }

  @Test func triesAtOnceWhereThePauseIsNone() {
    var backoff = Backoff(from: .zero, to: .zero)
    for _ in 0..<100 { backoff.failed() }
    #expect(backoff.mayTry)
  }
}

@Suite struct ConnectionConfigurationTests {
  @Test(arguments: [
    ("host=a prot=5432", #"invalid connection option "prot""#), ("host=a port", #"missing "=" after "port" in"#),
    ("postgresql://a/b?colour=blue", #"invalid URI query parameter: "colour""#),
  ])
  func textThatLibpqCannotReadIsAMistake(url: String, words: String) throws {
    let mistake = try #require(ConnectionConfiguration.mistake(in: url))
    #expect(mistake.hasPrefix(words))
    #expect(!mistake.contains { $0.isNewline })
  }

  @Test(arguments: ["host=a port=5432", "", "parley", "postgresql://a,b/c?target_session_attrs=read-write"])
  func textThatLibpqReadsIsNone(url: String) {
    #expect(ConnectionConfiguration.mistake(in: url) == nil)
  }
}
