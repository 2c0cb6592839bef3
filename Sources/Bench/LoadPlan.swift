public import Core

public enum LoadProtocol: String, Sendable, CaseIterable {
  case ttrpc
  case grpc
}

/// How a workload is put upon a server.
public struct LoadPlan: Sendable {
  public enum Pace: Sendable {
    /// Each connection always has all its calls under way.
    case closed
    /// So many calls are due each second, whatever becomes of those before them.
    case rate(Double)
    /// Calls are due at these times after the start.
    case arrivals(offsetsNanoseconds: [Int64])
  }

  public var address: Address
  public var transport = LoadProtocol.ttrpc
  public var connections = 16
  /// On each connection.
  public var callsInFlight = 64
  public var pace = Pace.closed
  /// Calls that end in it, or were due in it, are not counted.
  public var warmupSeconds = 1.0
  /// After the warm-up; nil: until `count` or the arrivals are done.
  public var seconds: Double?
  public var count: Int?
  /// How long a call may take.
  public var timeoutSeconds = 30

  public init(address: Address) {
    self.address = address
  }

  /// When the call of that number is due, in nanoseconds after the start; nil when there is none.
  func due(_ number: Int) -> Int64? {
    if let count, number >= count { return nil }
    switch pace {
    case .closed: return 0
    case .rate(let rate): return Int64(Double(number) / rate * 1_000_000_000)
    case .arrivals(let offsets): return number < offsets.count ? offsets[number] : nil
    }
  }

  var isOpen: Bool { if case .closed = pace { false } else { true } }
}
