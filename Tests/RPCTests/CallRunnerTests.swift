import Core
import Messages
import NIOCore
import NIOEmbedded
import Synchronization
import Testing

@testable import RPC

/// Calls of one connection: their responses, deadlines and memory, with time that the test moves.
struct CallRunnerTests {
  /// Of one thread, though what it hands out must be fit for others.
  fileprivate final class Stage: @unchecked Sendable {
    let loop = EmbeddedEventLoop()
    let memory: CallMemory
    private let large: LargeRequests
    let responses = ResponseMemory()
    lazy var unread = UnreadResponses(memory: responses, loop: loop) { _ in }
    lazy var turns = LoopTurns(loop, large: large)
    lazy var runner = CallRunner(interceptors: [self], memory: memory, unread: unread, turns: turns)
    /// What each call was answered, in order.
    private(set) var answers: [String] = []
    /// What the interceptor was told, in order.
    fileprivate(set) var told: [String] = []
    /// Of the calls that began, those that were not answered yet.
    private(set) var work: [Completion<Response>] = []
    private(set) var givenUp = 0
    fileprivate var refusal: RPCError?
    /// The interceptor needs a turn of the loop.
    fileprivate var waits = false
    fileprivate(set) var abandoned: [String] = []
    fileprivate var claims: Claims?
    fileprivate var beginTakes = TimeAmount.zero

    init(memory: CallMemory = CallMemory(), large: LargeRequests = LargeRequests { $0() }) {
      self.memory = memory
      self.large = large
    }

    @discardableResult
    func run(
      timeout: Duration? = nil, bytes: Int = 0, responseBytesMax: Int = 0, tenant: Tenant? = nil,
      isBounded: Bool = true, beginTakes: TimeAmount = .zero
    ) -> RunningCall? {
      claims = tenant.map { Claims(tenant: $0, scopes: []) }
      self.beginTakes = beginTakes
      let method = Method(
        MethodName(service: "stub", name: "Wait"), scope: nil, responseBytesMax: responseBytesMax,
        .unary { _, _, _ in {} })
      return runner.run(method, CallContext(metadata: Metadata(), bytes: bytes), timeout: timeout, isBounded: isBounded)
      {
        [self] _, completion in
        work.append(completion)
        return { [self] in givenUp += 1 }
      } answer: { [self] in
        answers.append(Self.text($0.reply))
      }
    }

    func end(_ number: Int, _ text: String) { work[number].complete(.success(Response(Array(text.utf8)))) }

    fileprivate static func text(_ reply: Reply) -> String {
      switch reply {
      case .success(let message): String(decoding: message, as: UTF8.self)
      case .failure(let error): "\(error.code)"
      }
    }
  }

  private let late = "\(RPCError.deadlineExceeded.code)"
  private let full = "\(RPCError.Code.resourceExhausted)"

  // MARK: Deadlines

  @Test func callIsAnsweredOnceWhateverComesLater() {
    let stage = Stage()
    stage.run(timeout: .seconds(1))
    stage.end(0, "done")
    stage.end(0, "again")
    stage.loop.advanceTime(by: .seconds(5))
    #expect(stage.answers == ["done"])
  }

  @Test func callWhoseTimePassesWhileItBeginsDoesNoWork() {
    let stage = Stage()
    stage.run(timeout: .nanoseconds(1), beginTakes: .nanoseconds(2))
    #expect(stage.answers == [late])
    #expect(stage.work.isEmpty)
  }

  @Test func callThatIsCancelledWhileItWaitsHoldsUpNoOther() throws {
    let stage = Stage()
    let page = Limits.frameBytesMax / 2
    stage.run(responseBytesMax: Limits.unreadResponseBytesPerConnectionMax - page)
    let large = try #require(stage.run(responseBytesMax: page + 1))
    stage.run(responseBytesMax: page)
    #expect(stage.work.count == 1)
    stage.runner.cancel(large)
    #expect(stage.work.count == 2)
  }

  @Test func smallResponsePassesPagesThatThePeerDoesNotRead() {
    let stage = Stage()
    stage.run(responseBytesMax: Limits.unreadResponseBytesPerConnectionMax)
    stage.run(responseBytesMax: Limits.frameBytesMax)
    #expect(stage.work.count == 1)
    stage.run(responseBytesMax: 128 * 1024)
    #expect(stage.work.count == 2)
  }

  @Test func callWithoutTimeDoesNotBegin() {
    let stage = Stage()
    stage.run(timeout: .zero)
    stage.run(timeout: .seconds(-1))
    #expect(stage.answers == [late, late] && stage.work.isEmpty)
  }

  @Test func overdueCallIsGivenUpAndItsLateAnswerIsDropped() {
    let stage = Stage()
    stage.run(timeout: .seconds(3))
    stage.loop.advanceTime(by: .milliseconds(2999))
    #expect(stage.answers.isEmpty && stage.givenUp == 0)
    stage.loop.advanceTime(by: .milliseconds(1))
    #expect(stage.answers == [late] && stage.givenUp == 1)
    stage.end(0, "done")
    #expect(stage.answers == [late])
  }

  @Test func eachCallHasItsOwnDeadlineInWhateverOrderTheyCome() {
    let stage = Stage()
    for seconds in [5, 1, 3] { stage.run(timeout: .seconds(seconds)) }
    for (second, count) in [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)] {
      stage.loop.advanceTime(to: .uptimeNanoseconds(UInt64(second) * 1_000_000_000))
      #expect(stage.answers.count == count, "after \(second) s")
    }
  }

  @Test func callThatDoesNotSayHowLongItWaitsHasTheLongestTime() {
    let stage = Stage()
    stage.run()
    stage.run(isBounded: false)
    stage.loop.advanceTime(by: .seconds(Limits.callSecondsMax))
    #expect(stage.answers == [late])
    stage.loop.advanceTime(by: .hours(24))
    #expect(stage.answers == [late])
  }

  @Test func cancelledCallIsNotAnswered() throws {
    let stage = Stage()
    let call = try #require(stage.run(timeout: .seconds(1)))
    stage.runner.cancel(call)
    stage.end(0, "done")
    stage.loop.advanceTime(by: .seconds(2))
    #expect(stage.answers.isEmpty && stage.givenUp == 1)
  }

  // MARK: Memory

  @Test func workThatNobodyWaitsForKeepsItsMemoryUntilItEnds() throws {
    let stage = Stage(memory: CallMemory(bytesMax: 100, bytesPerCallerMax: 100))
    let call = try #require(stage.run(bytes: 80))
    stage.runner.cancel(call)
    stage.run(bytes: 30)
    #expect(stage.answers == [full] && stage.runner.bytesInFlight == 80)
    stage.end(0, "done")
    stage.run(bytes: 30)
    #expect(stage.work.count == 2 && stage.runner.bytesInFlight == 30)
  }

  @Test func tenantHasItsShareOnAllConnectionsTogether() throws {
    let memory = CallMemory(bytesMax: 1000, bytesPerCallerMax: 100)
    let (one, two) = (Stage(memory: memory), Stage(memory: memory))
    let (acme, globex) = (Tenant("acme"), Tenant("globex"))
    one.run(bytes: 60, tenant: acme)
    two.run(bytes: 60, tenant: acme)
    #expect(two.answers == [full])
    two.run(bytes: 60, tenant: globex)
    #expect(two.answers == [full] && two.work.count == 1)
    one.end(0, "done")
    two.run(bytes: 60, tenant: acme)
    #expect(two.answers == [full] && two.work.count == 2)
  }

  // MARK: Interceptors

  @Test func refusedCallDoesNoWorkAndIsToldOf() {
    let stage = Stage()
    stage.refusal = .draining
    stage.run(bytes: 10)
    #expect(stage.work.isEmpty && stage.runner.bytesInFlight == 0)
    #expect(stage.answers == ["\(RPCError.draining.code)"] && stage.told == stage.answers)
  }

  @Test func everyAnsweredCallIsToldOfOnceAndNoCancelledOne() throws {
    let stage = Stage()
    stage.run(timeout: .seconds(1))
    stage.run()
    stage.runner.cancel(try #require(stage.run()))
    stage.end(1, "done")
    stage.loop.advanceTime(by: .seconds(1))
    for place in [0, 2] { stage.end(place, "late") }
    #expect(stage.answers == ["done", late] && stage.told == stage.answers)
    #expect(stage.abandoned == ["late", "late"])
  }

  @Test func callThatWaitsForItsInterceptorsKeepsTheRoomOfItsResponse() {
    let stage = Stage()
    stage.waits = true
    for _ in 0..<3 { stage.run(responseBytesMax: Limits.unreadResponseBytesPerConnectionMax) }
    stage.loop.run()
    #expect(stage.work.count == 1)
    stage.end(0, "done")
    stage.loop.run()
    #expect(stage.work.count == 2)
  }

  // MARK: Turns

  @Test func callsOfOneReadBeginInTurnAfterTheFirstFew() {
    let stage = Stage()
    for _ in 0..<12 { stage.run(bytes: 1) }
    #expect(stage.work.count == 8 && stage.runner.bytesInFlight == 12)
    stage.loop.run()
    #expect(stage.work.count == 12)
    stage.run(bytes: 1)
    #expect(stage.work.count == 12)
    stage.loop.run()
    stage.runner.readEnded()
    stage.run(bytes: 1)
    #expect(stage.work.count == 14)
  }

  @Test(arguments: [(bytes: 1, count: 24), (bytes: 10_000, count: 4)])
  func turnBeginsSoManyCallsOrFewerThatWeighMuch(bytes: Int, count: Int) {
    let stage = Stage()
    for _ in 0..<40 { stage.run(bytes: bytes) }
    let begun = Mutex(0)
    let bound = NIOLoopBound(stage, eventLoop: stage.loop)
    TurnExecutor(stage.turns).execute { begun.withLock { $0 = bound.value.work.count } }
    stage.loop.run()
    #expect(begun.withLock(\.self) == 8 + count && stage.work.count == 40)
  }

  @Test func connectionThatEndsLeavesNothingToBeginInItsTurn() {
    let stage = Stage(memory: CallMemory(bytesMax: 100, bytesPerCallerMax: 100))
    for _ in 0..<10 { stage.run(bytes: 10) }
    #expect(stage.work.count == 8)
    stage.runner.cancelAll()
    stage.loop.run()
    #expect(stage.work.count == 8 && stage.runner.bytesInFlight == 80)
    for place in 0..<8 { stage.end(place, "done") }
    #expect(stage.answers.isEmpty && stage.runner.bytesInFlight == 0)
  }

  @Test func callThatIsGivenUpBeforeItsTurnDoesNoWork() throws {
    let stage = Stage()
    for _ in 0..<8 { stage.run() }
    let call = try #require(stage.run(bytes: 10))
    stage.run(timeout: .milliseconds(1), bytes: 20)
    stage.runner.cancel(call)
    stage.loop.advanceTime(by: .seconds(1))
    #expect(stage.work.count == 9 && stage.answers == [late])
    for place in stage.work.indices { stage.end(place, "done") }
    #expect(stage.runner.bytesInFlight == 0)
  }

  @Test func largeRequestBeginsOnAnotherThreadUnlessItIsGivenUpBefore() throws {
    let thread = Mutex<[@Sendable () -> Void]>([])
    let stage = Stage(large: LargeRequests { work in thread.withLock { $0.append(work) } })
    stage.run(bytes: 100_000)
    let call = try #require(stage.run(bytes: 200_000))
    stage.run(timeout: .seconds(1), bytes: 400_000)
    stage.run(bytes: 1)
    #expect(stage.work.count == 1)
    stage.runner.cancel(call)
    stage.loop.advanceTime(by: .seconds(1))
    #expect(stage.answers == [late] && stage.runner.bytesInFlight == 700_001)
    for work in thread.withLock(\.self) { work() }
    stage.loop.run()
    #expect(stage.work.count == 2 && stage.runner.bytesInFlight == 100_001)
    for place in 0...1 { stage.end(place, "done") }
    #expect(stage.answers == [late, "done", "done"] && stage.runner.bytesInFlight == 0)
  }

  @Test func connectionIsReadFromNoFurtherWhileItsTenantHasMuchUnderWay() {
    let memory = CallMemory()
    let busy = (0..<4).map { _ in Stage(memory: memory) }
    let (other, quiet) = (Stage(memory: memory), Stage(memory: memory))
    let (acme, tiny) = (Tenant("acme"), Tenant("tiny"))
    for stage in busy { stage.run(bytes: Limits.callBytesReadPerTenantMax / 4, tenant: acme) }
    quiet.run(bytes: 1, tenant: tiny)
    #expect(busy.allSatisfy(\.runner.isFull) && !quiet.runner.isFull)
    // A connection without a call under way is read from: nothing would tell it later that there is room.
    #expect(!other.runner.isFull)
    other.run(bytes: 1, tenant: acme)
    #expect(other.runner.isFull)
    busy[0].end(0, "done")
    #expect(busy.allSatisfy { !$0.runner.isFull } && !other.runner.isFull)
  }

  /// Nothing else would have a connection read again that was answered while its work went on.
  @Test func roomIsToldOfWhenWorkEndsThatNobodyWaitsFor() {
    let stage = Stage()
    var told = 0
    stage.runner.onRoom = { told += 1 }
    stage.run(bytes: Limits.callBytesInFlightPerConnectionMax / 2)
    stage.run(timeout: .seconds(1), bytes: Limits.callBytesInFlightPerConnectionMax / 2)
    stage.loop.run()
    stage.loop.advanceTime(by: .seconds(1))
    #expect(stage.answers == [late] && stage.runner.isFull && told == 0)
    stage.end(1, "late")
    #expect(told == 1 && !stage.runner.isFull)
    stage.end(0, "done")
    #expect(told == 1)
  }

  // MARK: Responses that are not read

  @Test func largeResponsesWaitForThoseBeforeThem() {
    let stage = Stage()
    let half = Limits.unreadResponseBytesPerConnectionMax / 2
    for _ in 0..<4 { stage.run(responseBytesMax: half) }
    #expect(stage.work.count == 2)
    // Small ones pass.
    stage.run()
    #expect(stage.work.count == 3)
    // The first was large and lies unread.
    stage.unread.add(half)
    stage.end(0, "first")
    #expect(stage.work.count == 3)
    // The second was small.
    stage.end(1, "second")
    #expect(stage.work.count == 4)
    stage.unread.remove(half)
    stage.runner.startWaiting()
    #expect(stage.work.count == 5)
  }

  @Test func callThatWaitsForRoomObeysItsDeadline() {
    let stage = Stage()
    let all = Limits.unreadResponseBytesPerConnectionMax
    stage.run(responseBytesMax: all)
    stage.run(timeout: .seconds(1), bytes: 10, responseBytesMax: all)
    stage.run(bytes: 20, responseBytesMax: all)
    #expect(stage.work.count == 1 && stage.runner.bytesInFlight == 30)
    stage.loop.advanceTime(by: .seconds(1))
    #expect(stage.answers == [late] && stage.runner.bytesInFlight == 20)
    stage.end(0, "done")
    #expect(stage.answers == [late, "done"] && stage.work.count == 2)
  }

  @Test func connectionThatEndsLeavesNothingWaiting() throws {
    let stage = Stage(memory: CallMemory(bytesMax: 100, bytesPerCallerMax: 100))
    let all = Limits.unreadResponseBytesPerConnectionMax
    for _ in 0..<3 { stage.run(bytes: 30, responseBytesMax: all) }
    stage.runner.cancelAll()
    #expect(stage.givenUp == 1 && stage.runner.bytesInFlight == 30)
    stage.end(0, "done")
    #expect(stage.answers.isEmpty && stage.work.count == 1 && stage.runner.bytesInFlight == 0)
    stage.run(bytes: 100)
    #expect(stage.work.count == 2)
  }
}

extension CallRunnerTests.Stage: CallObserver {
  func intercept(_ method: Method, _ context: inout CallContext) throws(RPCError) -> Interception {
    loop.advanceTime(by: beginTakes)
    if let claims { context.caller = .authenticated(claims) }
    if let refusal { throw refusal }
    return waits ? .wait { $0 } : .goOn
  }

  func answered(_ method: Method, _ context: CallContext, _ reply: Reply) { told.append(Self.text(reply)) }
  func abandoned(_ method: Method, _ context: CallContext, _ reply: Reply) { abandoned.append(Self.text(reply)) }
}
