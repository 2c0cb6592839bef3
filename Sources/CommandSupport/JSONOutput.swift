import Foundation

/// Prints a value with the schema's field names.
package func printJSON(_ value: some Encodable) throws {
  let encoder = JSONEncoder()
  encoder.keyEncodingStrategy = .convertToSnakeCase
  encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
  try printLine(String(decoding: try encoder.encode(value), as: UTF8.self))
}
