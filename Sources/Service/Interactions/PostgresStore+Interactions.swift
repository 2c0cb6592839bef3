public import Core
import Postgres

extension PostgresStore: InteractionStore {
  public func interaction(
    _ id: InteractionID, of tenant: Tenant, _ completion: Completion<Interaction?>
  ) -> Cancellation {
    lookup.interaction(id, tenant: tenant, completion)
  }

  public func page(
    _ query: ListInteractions.Checked, of tenant: Tenant,
    _ completion: Completion<(interactions: [Interaction], more: Bool)>
  ) -> Cancellation {
    completion.complete { [self] () throws(RPCError) in
      let (partitions, hints) = (partitions.known, pageHints)
      let page = try await read(of: tenant) { [layout] (connection, tenant) throws(PostgresError) in
        try PageReader(query, tenant: tenant, layout, partitions, hints).page(on: connection)
      }
      return page ?? ([], false)
    }
  }
}
