import Core
import Messages
import RPC

/// `grpc.testing.TestService`, as gRPC's doc/interop-test-descriptions.md has its server side.
/// `UnimplementedCall` and `grpc.testing.UnimplementedService` are absent, as they must be.
struct TestService {
  var methods: [Method] {
    [
      method("EmptyCall", .unary { _, _, completion in completion.complete { Response() } }),
      method("UnaryCall", .unary { context, message, completion in completion.complete { unary(context, message) } }),
      method("StreamingOutputCall", .streaming(.responses, fullDuplex)),
      method("StreamingInputCall", .streaming(.requests, streamingInput)),
      method("FullDuplexCall", .streaming(.both, fullDuplex)),
      method("HalfDuplexCall", .streaming(.both, halfDuplex)),
    ]
  }

  private func method(_ name: String, _ handler: Method.Handler) -> Method {
    Method(MethodName(service: "grpc.testing.TestService", name: name), scope: nil, handler)
  }

  private func unary(_ context: CallContext, _ message: RPCMessage) -> Response {
    var response = Response()
    do throws(RPCError) {
      // SimpleRequest
      let fields = try decoded(message)
      try checkCompression(fields.message(8), of: message)
      try checkStatus(fields.message(7))
      response.reply = .success(payload(ofSize: fields.number(2)))
      response.compress = fields.message(6).map { $0.number(1) == 1 }
    } catch {
      response.reply = .failure(error)
    }
    echo(context, into: &response)
    return response
  }

  private func streamingInput(
    _ context: CallContext, _ requests: RequestStream, _ responses: ResponseStream
  ) async -> Response {
    await answer(context) { () throws(RPCError) in
      var size = 0
      while let request = try await requests.next() {
        // StreamingInputCallRequest
        let fields = try decoded(request)
        try checkCompression(fields.message(2), of: request)
        size += fields.message(1)?.bytes(2).count ?? 0
      }
      try await responses.send(Encoded.number(1, size))
    }
  }

  private func fullDuplex(
    _ context: CallContext, _ requests: RequestStream, _ responses: ResponseStream
  ) async -> Response {
    responses.setInitialMetadata(initialEcho(context))
    return await answer(context) { () throws(RPCError) in
      while let request = try await requests.next() { try await answer(decoded(request), responses) }
    }
  }

  private func halfDuplex(
    _ context: CallContext, _ requests: RequestStream, _ responses: ResponseStream
  ) async -> Response {
    await answer(context) { () throws(RPCError) in
      var all: [Fields] = []
      while let request = try await requests.next() { all.append(try decoded(request)) }
      for request in all { try await answer(request, responses) }
    }
  }

  /// Sends what a StreamingOutputCallRequest asks for.
  private func answer(_ request: Fields, _ responses: ResponseStream) async throws(RPCError) {
    try checkStatus(request.message(7))
    for parameters in request.messages(2) {
      do {
        try await Task.sleep(for: .microseconds(parameters.number(2)))
      } catch {
        throw .cancelled
      }
      try await responses.send(
        payload(ofSize: parameters.number(1)), compress: parameters.message(3).map { $0.number(1) == 1 })
    }
  }

  private func answer(
    _ context: CallContext, _ body: () async throws(RPCError) -> Void
  ) async -> Response {
    var response = Response()
    do throws(RPCError) {
      try await body()
    } catch {
      response.reply = .failure(error)
    }
    echo(context, into: &response)
    return response
  }

  private func decoded(_ message: RPCMessage) throws(RPCError) -> Fields {
    guard let fields = Fields(message.bytes) else {
      throw RPCError(.invalidArgument, .requestMalformed, "a message cannot be decoded")
    }
    return fields
  }

  private func checkCompression(_ expected: Fields?, of message: RPCMessage) throws(RPCError) {
    guard let expected, (expected.number(1) == 1) != message.wasCompressed else { return }
    throw RPCError(.invalidArgument, .requestMalformed, "the message is not compressed as it says")
  }

  /// EchoStatus
  private func checkStatus(_ status: Fields?) throws(RPCError) {
    guard let status, let code = RPCError.Code(rawValue: Int32(truncatingIfNeeded: status.number(1))) else { return }
    throw RPCError(code, .internalError, status.text(2))
  }

  /// A response with a Payload of zeros.
  private func payload(ofSize size: Int) -> [UInt8] {
    Encoded.bytes(1, Encoded.bytes(2, [UInt8](repeating: 0, count: max(size, 0))))
  }

  private func initialEcho(_ context: CallContext) -> Metadata {
    echo("x-grpc-test-echo-initial", of: context)
  }

  private func echo(_ context: CallContext, into response: inout Response) {
    response.initialMetadata = initialEcho(context)
    response.trailingMetadata = echo("x-grpc-test-echo-trailing-bin", of: context)
  }

  private func echo(_ key: String, of context: CallContext) -> Metadata {
    var metadata = Metadata()
    for value in context.metadata[key] { metadata.add(key, value) }
    return metadata
  }
}
