package import Core
import Foundation

/// Text as a terminal may show it: what customers and agents wrote must not move its cursor.
package func printable(_ text: some StringProtocol) -> String {
  text.unicodeScalars.reduce(into: "") { shown, scalar in
    switch scalar.properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator: shown += scalar == "\n" ? " " : "·"
    default: shown.unicodeScalars.append(scalar)
    }
  }
}

/// Rows under headings, columns as wide as they must be.
package func table(_ headings: [String], _ rows: [[String]], rightAligned: Set<Int> = []) -> String {
  let widths = headings.indices.map { column in ([headings] + rows).map { $0[column].count }.max() ?? 0 }
  return ([headings] + rows).map { row in
    let cells = row.indices.map { column in
      let pad = String(repeating: " ", count: widths[column] - row[column].count)
      return rightAligned.contains(column) ? pad + row[column] : row[column] + pad
    }
    let line = cells.joined(separator: "  ")
    return String(line.reversed().drop { $0 == " " }.reversed())
  }.joined(separator: "\n")
}

/// A number with so many decimal places.
package func fixed(_ value: Double, _ places: Int) -> String {
  value.formatted(.number.precision(.fractionLength(places)).grouping(.never).locale(Locale(identifier: "en_US_POSIX")))
}

/// Nano-dollars in dollars, to the last of them.
package func dollars(_ nanos: Int64) -> String {
  let (whole, rest) = nanos.magnitude.quotientAndRemainder(dividingBy: 1_000_000_000)
  let digits = String(rest)
  let fraction = String(repeating: "0", count: 9 - digits.count) + digits
  return "\(nanos < 0 ? "-" : "")$\(whole).\(fraction)"
}

extension RPCError {
  /// How the command ends on an error of the service.
  package var forTerminal: CommandFailure {
    var text = "\(printable(message)) [\(code.name), \(reason.rawValue)]"
    if code == .unauthenticated {
      text += "\nGive a token with --token-file, --token or PARLEY_TOKEN; parley token mints one."
    }
    if reason == .connectionLost {
      text += "\nIs a server running there? parley serve starts one; --address or PARLEY_ADDRESS names another."
    }
    return CommandFailure(text)
  }
}

/// An end with a message on standard error and status 1.
package struct CommandFailure: Error, CustomStringConvertible {
  package var description: String

  /// - Parameter description: may repeat what callers or servers wrote, line by line.
  package init(_ description: String) {
    self.description = description.split(separator: "\n").map { printable($0) }.joined(separator: "\n")
  }
}
