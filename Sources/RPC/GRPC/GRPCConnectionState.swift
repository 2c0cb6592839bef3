import Core
import Messages

/// One gRPC connection: what its peer does goes in, what is to be done comes out, in its order (`next()`). Pure: its
/// owner moves bytes, runs calls and tells the time.
struct GRPCConnectionState: ~Copyable {
  enum Action {
    /// Run a unary call; its response is told by `answered`.
    case run(StreamID, Method, GRPCRequestHead, RPCMessage, timeout: Duration)
    /// Run a streaming call, whose messages follow.
    case open(StreamID, Method, GRPCRequestHead)
    case deliver(StreamID, RPCMessage)
    case finish(StreamID, Result<Void, RPCError>)
    /// Nobody waits for the call any longer.
    case cancel(StreamID)

    case send(StreamID, GRPCStreamState.Outgoing)
    case reset(StreamID, HTTP2Code)
    /// Give so much of the stream's window back to the peer, or of the connection's.
    case returnWindow(StreamID, Int)
    case returnConnectionWindow(Int)

    /// The requests that are not complete hold so many bytes. Where there is no room for them, say so of the stream
    /// (`hasNoRoom`).
    case hold(Int, for: StreamID)

    case ping(UInt64)
    /// Send a GOAWAY that refuses no stream, and a PING with this; look again after `goAwaySecondsMax`.
    case announceEnd(UInt64)
    /// Send a GOAWAY with the last stream that was taken, and end the connection.
    case end(last: StreamID)
    case close(reason: String)
  }

  /// What its owner has seen of it.
  struct Progress {
    /// How often something was read.
    var reads = 0
    /// Of responses, how much the peer's windows have taken, and how many streams wait for them.
    var responseBytesTaken = 0
    var responsesWaiting = 0
  }

  /// What was needed for more is not kept: most of the time a connection has few streams.
  private static let keptMax = 256

  private let dispatcher: Dispatcher
  private let limits: HTTP2Limits
  private let unreadResponseTimeout: Duration
  private var life: ConnectionLife
  private var reader = GRPCHeadReader()
  /// Of the last call: most are of one method.
  private var lastMethod: (service: String, name: String, method: Method)?
  private var streams: [StreamID: GRPCStreamState] = [:]
  /// The last one that was taken.
  private var lastStream: StreamID = 0
  private var streamsEver = 0
  private var hasEnded = false
  /// Of requests that are not complete, and what was last told of it by `hold`, and before that.
  private var heldBytes = 0
  private var heldToldBytes = (now: 0, before: 0)
  /// Received, and not given back to the connection's window.
  private var unreturnedBytes = 0
  private var stallWatch = StallWatch()
  private var actions: [Action] = []
  private var nextAction = 0

  /// - Parameter unreadResponseTimeout: how long responses may wait for the peer's windows without moving.
  init(
    _ dispatcher: Dispatcher, _ configuration: GRPCConnectionConfiguration, limits: HTTP2Limits = HTTP2Limits(),
    unreadResponseTimeout: Duration, at now: ContinuousClock.Instant
  ) {
    self.dispatcher = dispatcher
    self.limits = limits
    self.unreadResponseTimeout = unreadResponseTimeout
    self.life = ConnectionLife(configuration, at: now)
  }

  var streamCount: Int { streams.count }
  var hasActions: Bool { nextAction < actions.count }

  /// What is to be done next.
  mutating func next() -> Action? {
    guard nextAction < actions.count else {
      if nextAction > 0 { actions.removeAll(keepingCapacity: actions.capacity <= Self.keptMax) }
      nextAction = 0
      return nil
    }
    defer { nextAction += 1 }
    return actions[nextAction]
  }

  // MARK: What the peer does

  /// The next header of a stream that is about to be opened.
  mutating func header(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) { reader.add(name, value) }

  /// The peer has begun a stream with the headers that came.
  mutating func opened(_ id: StreamID, isLast: Bool, at now: ContinuousClock.Instant) {
    let head = Result { () throws(GRPCRequestHead.Refusal) in try reader.finish() }
    // The peer knows that it may try such a call again elsewhere (RFC 9113, section 8.7).
    guard !life.isEnding else { return actions.append(.reset(id, .refusedStream)) }
    lastStream = id
    streamsEver += 1
    do throws(GRPCRequestHead.Refusal) {
      let head = try head.get()
      let method = try method(of: head)
      let stream = GRPCStreamState(head, method, opened: now)
      if stream.isStreaming { actions.append(.open(id, method, head)) }
      streams[id] = stream
    } catch {
      streams[id] = GRPCStreamState(refused: error, opened: now) { actions.append(.send(id, $0)) }
    }
    if isLast { ended(id, at: now) }
  }

  private mutating func method(of head: GRPCRequestHead) throws(GRPCRequestHead.Refusal) -> Method {
    if let lastMethod, lastMethod.name == head.method, lastMethod.service == head.service { return lastMethod.method }
    do throws(RPCError) {
      let method = try dispatcher.method(service: head.service, name: head.method)
      lastMethod = (head.service, head.method, method)
      return method
    } catch {
      throw .rpc(error)
    }
  }

  mutating func received(_ bytes: UnsafeRawBufferPointer, on id: StreamID) {
    unreturnedBytes += bytes.count
    guard let place = streams.index(forKey: id) else { return }
    do throws(RPCError) {
      try streams.values[place].receive(bytes) { actions.append(.deliver(id, $0)) }
    } catch {
      return fail(id, error)
    }
    countHeld(of: id)
    guard heldBytes <= 2 * Limits.callBytesInFlightPerConnectionMax else {
      return fail(id, .overloaded("the unfinished requests of this connection are too large"))
    }
    returnWindow(of: id)
  }

  /// The peer sends no more on this stream.
  mutating func ended(_ id: StreamID, at now: ContinuousClock.Instant) {
    guard let place = streams.index(forKey: id) else { return }
    switch streams.values[place].end(at: now) {
    case .nothing: break
    case .run(let method, let head, let message, let timeout):
      actions.append(.run(id, method, head, message, timeout: timeout))
    case .finish(let message, let result):
      if let message { actions.append(.deliver(id, message)) }
      actions.append(.finish(id, result))
    case .fail(let error): return fail(id, error)
    }
    countHeld(of: id)
  }

  /// The stream has ended on both sides, or was reset.
  mutating func closed(_ id: StreamID) {
    guard let stream = streams.removeValue(forKey: id) else { return }
    if streams.isEmpty, streams.capacity > Self.keptMax { streams = [:] }
    if stream.countedBytes > 0 { count(held: -stream.countedBytes, of: id) }
    if stream.isUnderWay { actions.append(.cancel(id)) }
    endIfAnswered()
  }

  /// The peer has answered a PING.
  mutating func acknowledged(_ ping: UInt64) { perform(life.acknowledged(ping)) }

  // MARK: What the calls do

  /// A streaming method has taken so many messages and bytes in all.
  mutating func took(on id: StreamID, messages: Int, bytes: Int) {
    guard let place = streams.index(forKey: id) else { return }
    streams.values[place].took(messages: messages, bytes: bytes)
    countHeld(of: id)
    returnWindow(of: id)
  }

  mutating func setInitialMetadata(_ metadata: Metadata, on id: StreamID) {
    guard let place = streams.index(forKey: id) else { return }
    streams.values[place].begin(metadata) { actions.append(.send(id, $0)) }
  }

  /// A message of a streaming response.
  ///
  /// - Returns: false where nobody waits for it.
  mutating func send(_ message: [UInt8], compress: Bool?, on id: StreamID) -> Bool {
    guard let place = streams.index(forKey: id) else { return false }
    return streams.values[place].send(message, compress: compress) { actions.append(.send(id, $0)) }
  }

  mutating func answered(_ id: StreamID, _ response: Response) {
    guard let place = streams.index(forKey: id) else { return }
    streams.values[place].answer(response) { actions.append(.send(id, $0)) }
    countHeld(of: id)
  }

  /// The server has no room for what the stream's request holds.
  mutating func hasNoRoom(for id: StreamID) {
    heldToldBytes.now = heldToldBytes.before
    fail(id, .overloaded("the server has no room for requests that have begun"))
  }

  private mutating func fail(_ id: StreamID, _ error: RPCError) {
    guard let stream = streams[id], !stream.isAnswered else { return }
    if stream.isUnderWay { actions.append(.cancel(id)) }
    answered(id, Response(error))
  }

  // MARK: Memory and windows

  /// Keeps the sum of what unfinished requests hold.
  private mutating func countHeld(of id: StreamID) {
    guard let place = streams.index(forKey: id) else { return }
    let change = streams.values[place].heldChange()
    if change != 0 { count(held: change, of: id) }
  }

  /// The server's sum is told by pieces, for small requests to cost nothing.
  private mutating func count(held change: Int, of id: StreamID) {
    heldBytes += change
    let piece = UnfinishedRequests.pieceBytes
    guard heldBytes / piece != heldToldBytes.now / piece else { return }
    heldToldBytes = (heldBytes, heldToldBytes.now)
    actions.append(.hold(heldBytes, for: id))
  }

  private mutating func returnWindow(of id: StreamID) {
    guard let place = streams.index(forKey: id),
      let bytes = streams.values[place].returnBytes(from: limits.streamWindowBytes / 2)
    else { return }
    actions.append(.returnWindow(id, bytes))
  }

  /// Opens the connection's window again when it has shrunk to its half; later, when the calls under way hold as much
  /// as they may.
  mutating func returnConnectionWindow(areCallsFull: Bool) {
    guard unreturnedBytes >= limits.connectionWindowBytes / 2, !areCallsFull else { return }
    actions.append(.returnConnectionWindow(unreturnedBytes))
    unreturnedBytes = 0
  }

  // MARK: Its end

  /// From time to time: what is due.
  mutating func look(_ progress: Progress, at now: ContinuousClock.Instant) {
    // A unary request that is not complete when its time is up is answered so.
    for (id, stream) in streams where stream.isOverdue(at: now) { fail(id, .deadlineExceeded) }
    endIfAnswered()
    // A peer that opens no window for what it asked for may not keep it for ever.
    let waiting = progress.responsesWaiting
    let stalled = stallWatch.stalled(isWaiting: waiting > 0, moved: progress.responseBytesTaken, at: now)
    if stalled >= unreadResponseTimeout { return perform(.close(reason: "\(waiting) answers are not read")) }
    perform(life.look(reads: progress.reads, streams: streams.count, streamsEver: streamsEver, at: now))
  }

  /// The server drains.
  mutating func drain(at now: ContinuousClock.Instant) { perform(life.drain(at: now)) }

  private mutating func perform(_ action: ConnectionLife.Action?) {
    switch action {
    case .ping(let data): actions.append(.ping(data))
    case .announceEnd(let data): actions.append(.announceEnd(data))
    case .end: endIfAnswered()
    case .close(let reason): actions.append(.close(reason: reason))
    case nil: break
    }
  }

  private mutating func endIfAnswered() {
    guard life.isEnding, streams.isEmpty, !hasEnded else { return }
    hasEnded = true
    actions.append(.end(last: lastStream))
  }

  /// The connection is gone, and its calls with it.
  mutating func lost() {
    streams = [:]
    actions = []
    nextAction = 0
    hasEnded = true
  }
}
