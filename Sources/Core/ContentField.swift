import Synchronization

/// How a value of an interaction's content is read and written: where it stands in the content's memory. (Tables of fields
/// are walked for every interaction. A closure or a key path for each field costs several times as much, and so does
/// whatever has references to count. What other targets are to inline has to be public.)
public struct Accessor<Value: Sendable>: Sendable {
  public typealias Path = any WritableKeyPath<InteractionContent, Value> & Sendable

  /// Less than 0 for a computed property.
  @usableFromInline let offset: Int

  package init(_ path: Path) {
    offset = MemoryLayout<InteractionContent>.offset(of: path) ?? -1 - ComputedProperties.add(path)
  }

  @inlinable @inline(__always)
  public func get(_ content: UnsafePointer<InteractionContent>) -> Value {
    offset >= 0 ? place(UnsafeMutablePointer(mutating: content)).pointee : content.pointee[keyPath: computed]
  }

  /// The same without a reference of its own to the value.
  @inlinable @inline(__always)
  public func read<R>(_ content: UnsafePointer<InteractionContent>, _ body: (Value) -> R) -> R {
    offset >= 0
      ? body(place(UnsafeMutablePointer(mutating: content)).pointee) : body(content.pointee[keyPath: computed])
  }

  @inlinable @inline(__always)
  public func set(_ content: UnsafeMutablePointer<InteractionContent>, _ value: Value) {
    if offset >= 0 { place(content).pointee = value } else { content.pointee[keyPath: computed] = value }
  }

  /// Changes the value where it is, without a copy.
  @inlinable @inline(__always)
  public func modify(_ content: UnsafeMutablePointer<InteractionContent>, _ body: (inout Value) -> Void) {
    if offset >= 0 { body(&place(content).pointee) } else { body(&content.pointee[keyPath: computed]) }
  }

  @inlinable @inline(__always)
  func place(_ content: UnsafeMutablePointer<InteractionContent>) -> UnsafeMutablePointer<Value> {
    UnsafeMutableRawPointer(content).advanced(by: offset).assumingMemoryBound(to: Value.self)
  }

  @usableFromInline
  var computed: Path { ComputedProperties.all.withLock { $0[-1 - offset] as! Path } }
}

/// Properties without a place in memory, of which only tests declare some.
private enum ComputedProperties {
  static let all = Mutex<[any AnyKeyPath & Sendable]>([])

  static func add(_ path: any AnyKeyPath & Sendable) -> Int {
    all.withLock {
      $0.append(path)
      return $0.count - 1
    }
  }
}

/// A field of an interaction's content, declared once. Its rule, its column, its place in messages and in JSON, and the
/// comparison of contents follow from the declaration.
package final class ContentField: Sendable {
  /// What it holds, what is allowed, and how it is reached.
  package enum Value: Sendable {
    case text(Accessor<String>, bytesMax: Int)
    /// A count, a size or a duration; not negative.
    case count(Accessor<Int32>)
    /// The same where it may be unknown, which is another value than 0.
    case optionalCount(Accessor<Int32?>)
    case amount(Accessor<Int64>, allowed: ClosedRange<Int64>)
    /// From 0 to 1.
    case score(Accessor<Double>)
    case flag(Accessor<Bool>)
    case intents(Accessor<[Intent]>)
  }

  /// In the schema, in JSON and in the table.
  package let name: String
  /// The field of the message Interaction that holds this one, where it is in a message of its own.
  package let parent: String?
  package let value: Value
  /// Lists show it in their full view alone.
  package let isLong: Bool
  /// Another rule than its declaration says what is allowed.
  let hasOwnRule: Bool
  /// A retry has to repeat it. What the server adds is not compared.
  package let isCompared: Bool
  /// As errors name it: "token_usage.prompt_tokens".
  package let path: String

  private init(
    _ name: String, of parent: String? = nil, _ value: Value, isLong: Bool = false, hasOwnRule: Bool = false,
    isCompared: Bool
  ) {
    self.name = name
    self.parent = parent
    self.value = value
    self.isLong = isLong
    self.hasOwnRule = hasOwnRule
    self.isCompared = isCompared
    path = parent.map { "\($0).\(name)" } ?? name
  }
}

// MARK: Declarations

extension ContentField {
  package static func text(
    _ name: String, _ path: Accessor<String>.Path, bytesMax: Int, isLong: Bool = false, hasOwnRule: Bool = false,
    isCompared: Bool = true
  ) -> ContentField {
    ContentField(
      name, .text(Accessor(path), bytesMax: bytesMax), isLong: isLong, hasOwnRule: hasOwnRule, isCompared: isCompared)
  }

  package static func count(
    _ name: String, of parent: String? = nil, _ path: Accessor<Int32>.Path, isCompared: Bool = true
  ) -> ContentField {
    ContentField(name, of: parent, .count(Accessor(path)), isCompared: isCompared)
  }

  package static func optionalCount(
    _ name: String, of parent: String? = nil, _ path: Accessor<Int32?>.Path, isCompared: Bool = true
  ) -> ContentField {
    ContentField(name, of: parent, .optionalCount(Accessor(path)), isCompared: isCompared)
  }

  package static func amount(
    _ name: String, _ path: Accessor<Int64>.Path, allowed: ClosedRange<Int64>, isCompared: Bool = true
  ) -> ContentField {
    ContentField(name, .amount(Accessor(path), allowed: allowed), isCompared: isCompared)
  }

  package static func score(
    _ name: String, _ path: Accessor<Double>.Path, isCompared: Bool = true
  ) -> ContentField {
    ContentField(name, .score(Accessor(path)), isCompared: isCompared)
  }

  package static func flag(_ name: String, _ path: Accessor<Bool>.Path, isCompared: Bool = true) -> ContentField {
    ContentField(name, .flag(Accessor(path)), isCompared: isCompared)
  }

  package static func intents(_ name: String, _ path: Accessor<[Intent]>.Path) -> ContentField {
    ContentField(name, .intents(Accessor(path)), isCompared: true)
  }
}

// MARK: What follows from a declaration

extension ContentField {
  func isEqual(_ a: UnsafePointer<InteractionContent>, _ b: UnsafePointer<InteractionContent>) -> Bool {
    switch value {
    case .text(let text, _): text.get(a).isExactly(text.get(b))
    case .count(let count): count.get(a) == count.get(b)
    case .optionalCount(let count): count.get(a) == count.get(b)
    case .amount(let amount, _): amount.get(a) == amount.get(b)
    case .score(let score): score.get(a) == score.get(b)
    case .flag(let flag): flag.get(a) == flag.get(b)
    case .intents(let intents): intents.get(a) == intents.get(b)
    }
  }
}

extension InteractionContent {
  /// The content where accessors reach its fields, as long as `body` runs.
  @inlinable
  public func withFields<R, E: Error>(_ body: (UnsafePointer<InteractionContent>) throws(E) -> R) throws(E) -> R {
    try withUnsafePointer(to: self, body)
  }

  @inlinable
  public mutating func withMutableFields<R, E: Error>(
    _ body: (UnsafeMutablePointer<InteractionContent>) throws(E) -> R
  ) throws(E) -> R {
    try withUnsafeMutablePointer(to: &self, body)
  }
}
