import Core

/// How long the reads of all tenants but one have taken, summed over the connections.
struct ReadTime {
  private var excluded: Tenant?
  private var time = Duration.zero

  mutating func add(_ time: Duration, of tenant: Tenant) {
    if tenant != excluded { self.time += time }
  }

  /// What there was since this was asked for the same tenant before; zero where it was asked for another one in between.
  mutating func take(besides tenant: Tenant) -> Duration {
    defer { (excluded, time) = (tenant, .zero) }
    return tenant == excluded ? time : .zero
  }
}
