public import Core

extension PostgresStore: RecordingStore {
  public func record(
    _ interactions: [Interaction], for tenant: Tenant, _ completion: Completion<[Result<Recorded, RPCError>]>
  ) -> Cancellation {
    if let key = numbers.hint(for: tenant) {
      return recorder.record(interactions, tenant: NumberedTenant(key: key, name: tenant), completion)
    }
    // A tenant's first record waits for its number.
    return completion.complete { [tenants, recorder] () throws(RPCError) in
      let numbered = NumberedTenant(key: try await tenants.add(tenant), name: tenant)
      return try await withCompletion { recorder.record(interactions, tenant: numbered, $0) }
    }
  }
}
