public import RPC

extension PostgresStore {
  /// The methods of all features, on this store: what a server's `Dispatcher` is given beside health and reflection.
  public var methods: [Method] {
    RecordingService(store: self).methods + InteractionService(store: self).methods
      + StatisticsService(store: self).methods
  }
}
