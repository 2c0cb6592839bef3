import Core
import Synchronization

/// The memory that the calls under way on all connections may take, and what share of it one caller may have.
final class CallMemory: Sendable {
  /// What the calls of one caller take: of a tenant on all connections, or of one connection while its tenants are not
  /// known. A call keeps its caller's share for as long as it takes memory.
  final class Share: Sendable {
    fileprivate let tenant: Tenant?
    private let memory: CallMemory
    private let bytes = Atomic<Int>(0)
    /// Of its large requests.
    let largeRequests = LargeRequests.Lane()

    fileprivate init(of memory: CallMemory, tenant: Tenant?) {
      self.memory = memory
      self.tenant = tenant
    }

    func isOf(_ tenant: Tenant) -> Bool { if let own = self.tenant { own == tenant } else { false } }

    /// No more is to be read of what is its, for now.
    var isCrowded: Bool { bytes.load(ordering: .relaxed) >= Limits.callBytesReadPerTenantMax }

    /// Takes that much of the memory for a call.
    ///
    /// - Throws: when it is not there.
    func reserve(_ count: Int) throws(RPCError) {
      guard memory.bytes.add(count, max: memory.bytesMax) == nil else {
        throw .overloaded("the calls under way fill the server's memory for them")
      }
      guard let held = bytes.add(count, max: memory.bytesPerCallerMax) else { return }
      memory.bytes.subtract(count, ordering: .relaxed)
      throw .overloaded(
        "this caller's calls under way weigh \(held + count) bytes; at most \(memory.bytesPerCallerMax) are allowed: "
          + "send fewer at once")
    }

    func release(_ count: Int) {
      bytes.subtract(count, ordering: .relaxed)
      memory.bytes.subtract(count, ordering: .relaxed)
    }
  }

  private let bytesMax: Int
  private let bytesPerCallerMax: Int
  private let bytes = Atomic<Int>(0)
  private let shares = Mutex(TenantObjects<Share>())

  init(
    bytesMax: Int = Limits.callBytesInFlightMax, bytesPerCallerMax: Int = Limits.callBytesInFlightPerTenantMax
  ) {
    self.bytesMax = bytesMax
    self.bytesPerCallerMax = bytesPerCallerMax
  }

  /// A tenant's: the same one for as long as anybody keeps it.
  func share(of tenant: Tenant) -> Share {
    shares.withLock { $0.object(of: tenant) { Share(of: self, tenant: tenant) } }
  }

  /// One of nobody else's.
  func shareOfOneConnection() -> Share { Share(of: self, tenant: nil) }

  /// How many tenants have a share.
  var sharesCount: Int { shares.withLock(\.count) }
}

extension Atomic<Int> {
  /// Adds, unless the sum would be greater than `max`.
  ///
  /// - Returns: the value that left no room; nil where it was added.
  fileprivate func add(_ count: Int, max: Int) -> Int? {
    var value = load(ordering: .relaxed)
    while value + count <= max {
      let (exchanged, original) = weakCompareExchange(expected: value, desired: value + count, ordering: .relaxed)
      if exchanged { return nil }
      value = original
    }
    return value
  }
}
