import Foundation

/// A JSON value, read without knowing what it should be, so that what is wrong with it can be told by
/// its name in the document.
package enum JSONValue: Decodable {
  case null
  case bool(Bool)
  case whole(Int64)
  case number(Double)
  case text(String)
  case list([JSONValue])
  case object([String: JSONValue])

  /// In words.
  package var kind: String {
    switch self {
    case .null: "null"
    case .bool: "a boolean"
    case .whole, .number: "a number"
    case .text: "a text"
    case .list: "a list"
    case .object: "an object"
    }
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if let text = try? container.decode(String.self) {
      self = .text(text)
    } else if container.decodeNil() {
      self = .null
    } else if let bool = try? container.decode(Bool.self) {
      self = .bool(bool)
    } else if let whole = try? container.decode(Int64.self) {
      self = .whole(whole)
    } else if let number = try? container.decode(Double.self) {
      self = .number(number)
    } else if let list = try? container.decode([JSONValue].self) {
      self = .list(list)
    } else {
      self = .object(try container.decode([String: JSONValue].self))
    }
  }
}

/// The fields of a JSON object, each asked for by name and type. Remembers which were never asked for.
package struct JSONFields {
  /// What is wrong with a document, naming the field.
  package struct Failure: Error, CustomStringConvertible {
    package var description: String

    package init(_ description: String) {
      self.description = description
    }
  }

  private let fields: [String: JSONValue]
  private let path: String
  private(set) var unknown: Set<String>

  init(_ json: Data) throws(Failure) {
    guard String(validating: json, as: UTF8.self) != nil else { throw Failure("is not valid UTF-8") }
    let value: JSONValue
    do {
      value = try JSONDecoder().decode(JSONValue.self, from: json)
    } catch {
      throw Failure("is not JSON")
    }
    try self.init(value, path: "")
  }

  private init(_ value: JSONValue, path: String) throws(Failure) {
    guard case .object(let fields) = value else {
      throw Failure(path.isEmpty ? "is not a JSON object" : "\(path): is not an object")
    }
    self.fields = fields
    let prefix = path.isEmpty ? "" : path + "."
    self.path = prefix
    unknown = Set(fields.keys.map { prefix + $0 })
  }

  /// null is as good as absent.
  private mutating func take(_ name: String) -> JSONValue? {
    unknown.remove(path + name)
    if case .null = fields[name] { return nil }
    return fields[name]
  }

  mutating func text(_ name: String) throws(Failure) -> String? {
    guard let value = take(name) else { return nil }
    guard case .text(let text) = value else { throw Failure("\(path)\(name): is not a text") }
    return text
  }

  mutating func bool(_ name: String) throws(Failure) -> Bool? {
    guard let value = take(name) else { return nil }
    guard case .bool(let bool) = value else { throw Failure("\(path)\(name): is neither true nor false") }
    return bool
  }

  mutating func number(_ name: String) throws(Failure) -> Double? {
    switch take(name) {
    case nil: return nil
    case .whole(let whole): return Double(whole)
    case .number(let number): return number
    default: throw Failure("\(path)\(name): is not a number")
    }
  }

  /// A number, or the text of one: so protobuf's own JSON has integers of 64 bits, which not every program can tell
  /// apart as numbers.
  mutating func whole<I: FixedWidthInteger>(_ name: String, _ type: I.Type = I.self) throws(Failure) -> I? {
    let number: I?
    switch take(name) {
    case nil: return nil
    case .whole(let whole): number = I(exactly: whole)
    case .text(let text) where text.utf8.allSatisfy({ (48...57).contains($0) || $0 == UInt8(ascii: "-") }):
      number = I(text)
    default: number = nil
    }
    guard let number else { throw Failure("\(path)\(name): is not a whole number from 0 to \(I.max)") }
    return number
  }

  /// What `read` makes of the object under that name; what it leaves unread is unknown here too.
  mutating func object<R>(_ name: String, _ read: (inout JSONFields) throws(Failure) -> R) throws(Failure) -> R? {
    guard let value = take(name) else { return nil }
    return try self.read(value, at: path + name, read)
  }

  /// What `read` makes of each object of the list under that name.
  mutating func objects<R>(_ name: String, _ read: (inout JSONFields) throws(Failure) -> R) throws(Failure) -> [R]? {
    guard let value = take(name) else { return nil }
    guard case .list(let values) = value else { throw Failure("\(path)\(name): is not a list") }
    var results: [R] = []
    for (index, value) in values.enumerated() {
      results.append(try self.read(value, at: "\(path)\(name)[\(index)]", read))
    }
    return results
  }

  private mutating func read<R>(
    _ value: JSONValue, at path: String, _ read: (inout JSONFields) throws(Failure) -> R
  ) throws(Failure) -> R {
    var nested = try JSONFields(value, path: path)
    let result = try read(&nested)
    unknown.formUnion(nested.unknown)
    return result
  }

  func required<Value>(_ value: Value?, _ name: String) throws(Failure) -> Value {
    guard let value else { throw Failure("\(path)\(name): is missing") }
    return value
  }
}
