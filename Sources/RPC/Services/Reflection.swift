public import Core
import Messages

/// Tells clients such as grpcurl what the server speaks (`grpc.reflection.v1` and `v1alpha`, whose
/// messages are the same). Off unless asked for.
public struct Reflection: Sendable {
  private static let services = ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"]

  private let listed: [String]
  private let filesByName: [String: [UInt8]]
  private let filesBySymbol: [String: [UInt8]]

  /// - Parameter services: those that the server has beside this one.
  public init(services: [String]) throws(RPCError) {
    listed = (services + Self.services).sorted()
    let files = try ProtoFile.files(inSet: ProtoFile.schema)
    filesByName = Dictionary(uniqueKeysWithValues: files.map { ($0.name, $0.encoded) })
    filesBySymbol = Dictionary(
      files.flatMap { file in file.symbols.map { ($0, file.encoded) } }, uniquingKeysWith: { first, _ in first })
  }

  public var methods: [Method] {
    Self.services.map { service in
      Method(
        MethodName(service: service, name: "ServerReflectionInfo"), scope: nil,
        .streaming(.both) { _, requests, responses in await answer(requests, responses) })
    }
  }

  private func answer(_ requests: RequestStream, _ responses: ResponseStream) async -> Response {
    do throws(RPCError) {
      while let request = try await requests.next() {
        let answer = answer(to: try ReflectionMessages.question(request.bytes))
        try await responses.send(try ReflectionMessages.encode(answer, to: request.bytes))
      }
      return Response()
    } catch {
      return Response(error)
    }
  }

  private func answer(to question: ReflectionMessages.Question) -> ReflectionMessages.Answer {
    switch question {
    case .listServices: .services(listed)
    case .fileNamed(let name): file(filesByName[name], "file \(RPCError.excerpt(of: name))")
    case .fileDeclaring(let symbol): file(filesBySymbol[symbol], "symbol \(RPCError.excerpt(of: symbol))")
    case .extensions: .failure(RPCError(.notFound, .methodUnknown, "there are no extensions here"))
    }
  }

  private func file(_ file: [UInt8]?, _ description: String) -> ReflectionMessages.Answer {
    file.map { .files([$0]) } ?? .failure(RPCError(.notFound, .methodUnknown, "there is no \(description) here"))
  }
}
