/// A statement that each connection prepares once, by a name that no other text has.
package struct Statement: Hashable, Sendable {
  /// The label and a hash of the text, so that another text under the same label is another statement.
  package let name: String
  package let text: String
  /// Whether it takes another role, for its transaction or the session.
  package let setsRole: Bool
  /// Whether there are more of its like than a connection keeps prepared.
  package let hasManyForms: Bool

  package static func == (a: Self, b: Self) -> Bool { a.name == b.name }
  package func hash(into hasher: inout Hasher) { hasher.combine(name) }

  /// - Parameter file: the content of an SQL file.
  package init(_ label: String, _ file: [UInt8]) {
    self.init(label, sqlText(file))
  }

  package init(_ label: String, _ text: String, hasManyForms: Bool = false) {
    // FNV-1a: the same in every process, as a pooler's connections outlive them.
    let hash = text.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    name = "\(label)_\(String(hash, radix: 16))"
    self.text = text
    self.hasManyForms = hasManyForms
    setsRole = text.contains("set_config('role'")
  }

  package static let begin = Statement("begin", "BEGIN")
  package static let beginRepeatableRead = Statement("begin_repeatable_read", "BEGIN ISOLATION LEVEL REPEATABLE READ")
  package static let commit = Statement("commit", "COMMIT")
}

/// A statement with its parameters, ready to be sent.
package struct Command: Sendable {
  package var statement: Statement
  package var parameters: Parameters
  /// Each row of the result is given alone, as it comes, so that no more than one is in memory; then none.
  package var isReadRowByRow = false

  package init(
    _ statement: Statement, isReadRowByRow: Bool = false, _ fill: (inout Parameters) -> Void = { _ in }
  ) {
    self.init(statement, Parameters())
    self.isReadRowByRow = isReadRowByRow
    fill(&parameters)
  }

  package init(_ statement: Statement, _ parameters: Parameters) {
    self.statement = statement
    self.parameters = parameters
  }
}

/// The SQL of a file, without the comment that it begins with. A COPY is sent with its whole text each time, and so is every
/// statement where none is prepared.
package func sqlText(_ file: [UInt8]) -> String {
  var text = String(decoding: file, as: UTF8.self)[...]
  while text.hasPrefix("--") { text = text.drop { $0 != "\n" }.dropFirst() }
  return String(text)
}

/// As a literal of SQL, whatever the text.
package func sqlLiteral(_ text: String) -> String {
  let escaped = text.replacing("\\", with: "\\\\").replacing("'", with: "''")
  return "E'\(escaped)'"
}
