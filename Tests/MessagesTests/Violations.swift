import Core
import Testing

/// What was wrong with the fields of what `body` read, as "field: description".
func violations(
  sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Void
) -> [String] {
  let error = #expect(throws: RPCError.self, sourceLocation: sourceLocation) { try body() }
  #expect(error?.code == .invalidArgument, sourceLocation: sourceLocation)
  return error?.violations.map { "\($0.field): \($0.description)" } ?? []
}
