public import Core
public import Messages

/// One method of a service: its name, what its callers need, and what handles it.
///
/// A feature makes the methods it has, and a `Dispatcher` is given all of them; nothing else in the server knows of a
/// method. Every protocol calls every method, whatever its shape.
public final class Method: Sendable {
  public let name: MethodName
  /// What the caller's token has to allow; nil: anybody may call, without a token.
  public let scope: Scope?
  /// How large a response may be, where that is much; 0 where it is little. A large one waits for room when the peer
  /// does not read.
  public let responseBytesMax: Int
  public let handler: Handler

  public enum Handler: Sendable {
    /// One message in, one out. It gets the encoded request.
    case unary(@Sendable (CallContext, RPCMessage, Completion<Response>) -> Cancellation)
    /// Messages in, messages out, each side in its own time.
    case streaming(Streams, @Sendable (CallContext, RequestStream, ResponseStream) async -> Response)
  }

  /// Which sides of a call are streams.
  public enum Streams: Sendable {
    /// One message in, many out.
    case responses
    /// Many messages in, one out.
    case requests
    case both

    var requestsMax: Int { self == .responses ? 1 : .max }
  }

  public init(_ name: MethodName, scope: Scope?, responseBytesMax: Int = 0, _ handler: Handler) {
    self.name = name
    self.scope = scope
    self.responseBytesMax = responseBytesMax
    self.handler = handler
  }

  /// A unary method whose request the gate checks before the handler sees it.
  @inlinable
  public static func unary<R: Request & WireMessage, Value: WireMessage & Sendable>(
    _ request: R.Type, responseBytesMax: Int = 0,
    _ handler: @escaping @Sendable (Admitted<R.Checked>, Completion<Value>) -> Cancellation
  ) -> Method {
    let gate = Gate()
    return Method(
      R.method, scope: R.scope, responseBytesMax: responseBytesMax,
      .unary { context, message, completion in
        let admitted: Admitted<R.Checked>
        do throws(RPCError) {
          admitted = try gate.admit(R(encoded: message.bytes), from: context.authorizedCaller, at: .now)
        } catch {
          completion.complete(.failure(error))
          return {}
        }
        return handler(admitted, completion.map { $0.map { Response($0.encoded()) } })
      })
  }
}

/// What is known of a call beside its messages.
public struct CallContext: Sendable {
  public let metadata: Metadata
  /// Whom it came from, where that matters.
  public let peer: (any CallPeer)?
  /// Of its request, where that is one message, and what it came with.
  public let bytes: Int
  /// Who calls.
  package var caller = Caller.unknown
  /// What of the memory for calls it has reserved.
  var memory: CallMemory.Share?

  static let none = CallContext(metadata: Metadata())

  public init(metadata: Metadata, peer: (any CallPeer)? = nil, bytes: Int = 0) {
    self.metadata = metadata
    self.peer = peer
    self.bytes = bytes
  }

  package enum Caller: Sendable {
    /// It is not known yet, or anybody may call the method.
    case unknown
    case authenticated(Claims)
    /// It has the method's scope.
    case authorized(Authorized)
  }

  /// Who calls, once that is known; nil for a method that anybody may call.
  public var claims: Claims? {
    switch caller {
    case .unknown: nil
    case .authenticated(let claims): claims
    case .authorized(let authorized): authorized.claims
    }
  }

  /// The id by which its caller will ask for it, if it gave one.
  public var requestID: String? { metadata["x-request-id"].first }

  /// For a method with a scope, of which only authorized callers come so far.
  @usableFromInline
  var authorizedCaller: Authorized {
    get throws(RPCError) {
      guard case .authorized(let authorized) = caller else { throw .internal(cause: "the call was not authorized") }
      return authorized
    }
  }
}

/// How a call ends, in every protocol.
public struct Response: Sendable {
  /// The message of a unary call, or the error. Of a streaming call the message is not sent.
  public var reply: Reply
  /// Sent before the first message, by protocols that have such.
  public var initialMetadata = Metadata()
  /// Sent after the last.
  public var trailingMetadata = Metadata()
  /// Whether to compress; nil: as the caller compresses, where it is worth it.
  public var compress: Bool?

  public init(_ message: [UInt8] = []) {
    reply = .success(message)
  }

  public init(_ error: RPCError) {
    reply = .failure(error)
  }
}
