import Core

/// What the calls of one connection take of the memory for calls: the last step before the handler. Used on the
/// connection's event loop alone.
final class CallLimits {
  private let memory: CallMemory
  /// Of calls whose tenant is not known.
  private let ownShare: CallMemory.Share
  /// Of the tenants of the last calls: most connections have one, and few have many.
  private var shares: [CallMemory.Share] = []
  private var last: CallMemory.Share?
  private static var sharesMax: Int { 8 }

  init(_ memory: CallMemory) {
    self.memory = memory
    ownShare = memory.shareOfOneConnection()
  }

  /// The last call's tenant has so much under way that no more is to be read for now.
  var isCrowded: Bool { last?.isCrowded ?? false }

  /// Takes what the call needs from its tenant's share.
  func intercept(_ context: inout CallContext) throws(RPCError) {
    let share = context.claims.map { self.share(of: $0.tenant) } ?? ownShare
    try share.reserve(context.bytes)
    context.memory = share
    if last !== share { last = share }
  }

  /// Takes what a call needs that has not come so far: it waits, or its caller is not known yet.
  func reserve(_ count: Int) throws(RPCError) { try ownShare.reserve(count) }

  func release(_ count: Int) { ownShare.release(count) }

  private func share(of tenant: Tenant) -> CallMemory.Share {
    if let last, last.isOf(tenant) { return last }
    if let share = shares.first(where: { $0.isOf(tenant) }) { return share }
    if shares.count == Self.sharesMax { shares.removeFirst() }
    let share = memory.share(of: tenant)
    shares.append(share)
    return share
  }
}
