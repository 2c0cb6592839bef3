/// When calls came in a recorded hour, and how large they were.
public struct Arrivals: Sendable {
  public struct Size: Sendable {
    public var contextTokens: Int32
    public var generatedTokens: Int32
  }

  /// After the first of them; rising.
  public private(set) var offsetsNanoseconds: [Int64] = []
  public private(set) var sizes: [Size] = []

  /// What is wrong with a file of arrivals.
  public struct Failure: Error, CustomStringConvertible {
    public var description: String
  }

  /// From lines of `YYYY-MM-DD HH:MM:SS.fraction,context tokens,generated tokens` under one heading, as the Azure LLM
  /// inference traces have them.
  public init(csv: String) throws(Failure) {
    var first: Int64?
    for (index, line) in csv.split(whereSeparator: \.isNewline).enumerated().dropFirst() {
      let fields = line.split(separator: ",")
      guard fields.count == 3, let time = Self.nanoseconds(fields[0]), let context = Int32(fields[1]),
        let generated = Int32(fields[2]), context >= 0, generated >= 0
      else {
        throw Failure(
          description:
            "line \(index + 1): is not TIMESTAMP,ContextTokens,GeneratedTokens, such as 2023-11-16 18:15:46.68,374,44"
        )
      }
      let offset = time - (first ?? time)
      first = first ?? time
      offsetsNanoseconds.append(max(offset, offsetsNanoseconds.last ?? 0))
      sizes.append(Size(contextTokens: context, generatedTokens: generated))
    }
    guard !sizes.isEmpty else { throw Failure(description: "holds no arrivals") }
  }

  /// Since the midnight before the month began: only differences matter, and no trace spans months.
  private static func nanoseconds(_ text: Substring) -> Int64? {
    let parts = text.split(whereSeparator: { "- :.".contains($0) })
    // Nothing stands between the numbers but what belongs there, and no sum of them passes 64 bits.
    guard ["-- ::", "-- ::."].contains(text.filter { !("0"..."9").contains($0) }), parts.count >= 6,
      parts.prefix(6).allSatisfy({ $0.utf8.count <= 4 }), let day = Int64(parts[2]), let hour = Int64(parts[3]),
      let minute = Int64(parts[4]), let second = Int64(parts[5])
    else { return nil }
    let digits = parts.count == 7 ? parts[6].prefix(9) : "0"
    guard var fraction = Int64(digits) else { return nil }
    for _ in digits.count..<9 { fraction *= 10 }
    return (((day * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000_000 + fraction
  }
}
