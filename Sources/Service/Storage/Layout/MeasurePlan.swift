import Core
import Postgres

/// What `Measures` declares, worked out once: how each measure is added up, and what each generation of stored formats
/// holds.
///
/// Change records hold inputs: the fields that measures are taken from. Rollups hold the measures themselves. Both have
/// generations, counted from 0; a generation holds everything of those before it, in the same order.
final class MeasurePlan: Sendable {
  /// A field of whole numbers that some measure is taken from.
  struct Input: Sendable {
    /// No number of an interaction passes it.
    var numberMax: Int64
    /// A row's number above this, which no server wrote, counts as this.
    var nearestMax: Int64
    /// The rows may have NULL there, for unknown.
    var isOptional: Bool
  }

  /// How one interaction is added to the numbers and distributions of `Sums`, by their places.
  enum Step: Sendable {
    case one(Int)
    case handoffs(Int)
    case confidenceMicros(Int)
    case confidenceBins(Int)
    case sum(input: Int, Int)
    case known(input: Int, Int)
    case equal(input: Int, Int64, Int)
    case distribution(input: Int, Int)
  }

  /// How much of the inputs, numbers and distributions a generation has: the first so many.
  struct Generation: Sendable, Equatable {
    var inputs: Int
    var numbers: Int
    var distributions: Int
  }

  let measures: Measures
  let inputs: [Input]
  let inputFields: [ContentField]
  fileprivate let inputValues: [ContentField.Value]
  let steps: [Step]
  /// The most that one interaction adds to each number.
  let numbersMax: [Int64]
  /// Numbers that together are another: the bins of a histogram, and what was counted into them.
  let partitions: [(parts: Range<Int>, whole: Int)]
  /// Where the number is that says how many interactions each distribution has; nil where none says it, for some are
  /// unknown.
  let distributionCounts: [Int?]
  /// Those that this server can read.
  let generations: [Generation]
  /// The one that it writes (`Measures.written`).
  let written: Int

  /// The fields that change records of the first generation have, in their order.
  private static let firstInputs = ["estimated_cost_nanos", "processing_time_ms", "prompt_tokens", "completion_tokens"]

  init(_ measures: Measures, fields: [ContentField]) {
    self.measures = measures
    written = measures.written
    let named = Self.inputs(of: measures)
    let inputFields = named.map { name, _ in fields.first { $0.name == name }! }
    let inputs = inputFields.map(Self.input)
    precondition(inputs.count <= MeasureInputs.countMax, "measures are taken from more fields than MeasureInputs holds")
    self.inputFields = inputFields
    self.inputs = inputs
    inputValues = inputFields.map(\.value)
    func place(_ field: String) -> Int { inputFields.firstIndex { $0.name == field }! }
    var (steps, numbersMax): ([Step], [Int64]) = ([], [])
    var partitions: [(parts: Range<Int>, whole: Int)] = []
    var distributed: [String] = []
    for (measure, places) in zip(measures.all, measures.places) {
      let number = places.lowerBound
      switch measure.source {
      case .one: steps.append(.one(number))
      case .handoffs: steps.append(.handoffs(number))
      case .confidenceMicros: steps.append(.confidenceMicros(number))
      case .confidenceBins:
        steps.append(.confidenceBins(number))
        partitions.append((places, 0))
      case .sum(let field): steps.append(.sum(input: place(field), number))
      case .known(let field): steps.append(.known(input: place(field), number))
      case .number(let field, equalTo: let value): steps.append(.equal(input: place(field), value, number))
      case .distribution(let field):
        steps.append(.distribution(input: place(field), distributed.count))
        distributed.append(field)
      }
      let numberMax: Int64 =
        switch measure.source {
        case .one, .handoffs, .confidenceBins, .known, .number, .distribution: 1
        case .confidenceMicros: 1_000_000
        case .sum(let field): inputs[place(field)].numberMax
        }
      numbersMax += [Int64](repeating: numberMax, count: measure.width)
    }
    self.steps = steps
    self.numbersMax = numbersMax
    self.partitions = partitions
    distributionCounts = distributed.map { field in
      inputs[place(field)].isOptional ? Self.place(ofKnown: field, measures) : 0
    }
    generations = (0...measures.all.last!.since).map { generation in
      let measured = measures.all.filter { $0.since <= generation }
      return Generation(
        inputs: named.count { $0.since <= generation }, numbers: measured.reduce(0) { $0 + $1.width },
        distributions: measured.count { $0.isDistribution })
    }
  }

  /// The names of the fields in the order of change records, with the first generation that has each: those of the first,
  /// then each as the first measure names it.
  private static func inputs(of measures: Measures) -> [(field: String, since: Int)] {
    var named = firstInputs.map { (field: $0, since: 0) }
    for measure in measures.all {
      if let field = measure.input, !named.contains(where: { $0.field == field }) {
        named.append((field, measure.since))
      }
    }
    return named
  }

  private static func input(_ field: ContentField) -> Input {
    switch field.value {
    case .count: Input(numberMax: Int64(Int32.max), nearestMax: Int64(Int32.max), isOptional: false)
    case .optionalCount: Input(numberMax: Int64(Int32.max), nearestMax: Int64(Int32.max), isOptional: true)
    case .amount(_, let allowed): Input(numberMax: .max, nearestMax: allowed.upperBound, isOptional: false)
    case .text, .score, .flag, .intents:
      preconditionFailure("a measure is taken from \(field.name), which is no field of whole numbers")
    }
  }

  private static func place(ofKnown field: String, _ measures: Measures) -> Int? {
    let index = measures.all.firstIndex { if case .known(field) = $0.source { true } else { false } }
    return index.map { measures.places[$0].lowerBound }
  }
}

extension Measure {
  /// The field that it is taken from.
  fileprivate var input: String? {
    switch source {
    case .sum(let field), .known(let field), .number(let field, equalTo: _), .distribution(let field): field
    case .one, .handoffs, .confidenceMicros, .confidenceBins: nil
    }
  }

  fileprivate var isDistribution: Bool { if case .distribution = source { true } else { false } }
}

// MARK: Generations of formats

extension MeasurePlan {
  /// A change record's first byte is its generation. (In the first generation it is the number of its first group, 0.)
  func generation(ofChangeRecord format: UInt8) throws(Unreadable) -> Int {
    let generation = Int(format)
    guard generation < generations.count else {
      throw Unreadable(format: format, known: UInt8(generations.count - 1))
    }
    return generation
  }

  /// A rollup's first byte is its generation and 1.
  func generation(ofRollup format: UInt8) throws(Unreadable) -> Int {
    guard (1...generations.count).contains(Int(format)) else {
      throw Unreadable(format: format, known: UInt8(generations.count))
    }
    return Int(format) - 1
  }

  /// The first byte of change records, and of rollups, that are of the first generation that is not known here; as SQL.
  var newerChangeRecord: String { Self.byte(generations.count) }
  var newerRollup: String { Self.byte(generations.count + 1) }

  private static func byte(_ value: Int) -> String {
    let digits = String(value, radix: 16)
    return "'\\x\(value < 16 ? "0" : "")\(digits)'"
  }
}

// MARK: What an interaction has

/// The inputs of one interaction, by their places in the plan.
struct MeasureInputs: Equatable {
  /// No input is negative, so -1 stands for an unknown one. (An array would cost each interaction an allocation, and half
  /// as much again as to read its change record.)
  private var numbers = [8 of Int64](repeating: -1)

  /// So many there can be: where more are declared, make `numbers` longer.
  static let countMax = 8

  init(_ interaction: Interaction, _ plan: MeasurePlan) {
    interaction.content.withFields { content in
      var place = 0
      for value in plan.inputValues {
        numbers[place] =
          switch value {
          case .count(let count): Int64(max(count.get(content), 0))
          case .optionalCount(let count): count.get(content).map { Int64(max($0, 0)) } ?? -1
          case .amount(let amount, _): max(amount.get(content), 0)
          case .text, .score, .flag, .intents: -1
          }
        place += 1
      }
    }
  }

  /// From the columns of a row from that place on. A number that breaks a rule, which other programs can have written,
  /// counts as the nearest that keeps it; interaction_stats.sql has the same rule.
  init(_ row: Row, from firstColumn: Int, _ plan: MeasurePlan) throws(PostgresError) {
    for (place, input) in plan.inputs.enumerated() {
      let column = firstColumn + place
      if input.isOptional, row.isNull(column) { continue }
      let number = input.numberMax == .max ? try row.int64(column) : Int64(try row.int32(column))
      numbers[place] = min(max(number, 0), input.nearestMax)
    }
  }

  /// Reads the inputs of one interaction from a change record of a generation. A record of an older generation lacks the newer
  /// inputs, because its interactions had no such fields: an optional input is then unknown, and any other one is 0.
  init(_ reader: inout VarintReader, generation: Int, _ plan: MeasurePlan) throws(Unreadable) {
    let held = plan.generations[generation].inputs
    var place = 0
    for input in plan.inputs {
      if place < held {
        // From the second generation on, 0 stands for unknown, and each number is one more.
        let number = generation == 0 ? try reader.int() : Int64(bitPattern: try reader.next(UInt64.self) &- 1)
        guard number <= input.numberMax, number >= 0 || number == -1 && input.isOptional else { throw .damaged }
        numbers[place] = number
      } else if !input.isOptional {
        numbers[place] = 0
      }
      place += 1
    }
  }

  func write(to writer: inout VarintWriter, _ plan: MeasurePlan) {
    for place in 0..<plan.generations[plan.written].inputs {
      let number = numbers[place]
      writer.add(plan.written == 0 ? UInt64(max(number, 0)) : UInt64(bitPattern: number) &+ 1)
    }
  }

  static func == (a: MeasureInputs, b: MeasureInputs) -> Bool {
    a.numbers.indices.allSatisfy { a.numbers[$0] == b.numbers[$0] }
  }

  /// nil: unknown.
  subscript(place: Int) -> Int64? { numbers[place] < 0 ? nil : numbers[place] }
}
