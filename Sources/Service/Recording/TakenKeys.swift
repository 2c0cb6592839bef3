import Synchronization

/// The keys that were found taken of late, and the tenants that send little else: their rows are looked up before a
/// batch is written, for one taken key makes PostgreSQL refuse the batch.
///
/// It is bounded, and may forget: to look up too much or too little costs time, never truth.
final class TakenKeys: Sendable {
  private struct State {
    /// The newest; once they are many they become the older ones, which are forgotten.
    var recent: Set<RecordRow.Key> = []
    var older: Set<RecordRow.Key> = []
    /// Of whose rows half and more were taken, as where a file is imported again.
    var tenants: Set<Int32> = []
  }

  private let state = Mutex(State())
  private let keysMax: Int

  /// So few rows say nothing of their tenant.
  private static let tenantRowsMin = 8

  init(keysMax: Int = 1024) {
    self.keysMax = keysMax
  }

  /// Those whose keys may well be taken.
  func suspects(among rows: [RecordRow]) -> [RecordRow] {
    state.withLock { state in
      if state.recent.isEmpty && state.older.isEmpty && state.tenants.isEmpty { return [] }
      return rows.filter { row in
        state.tenants.contains(row.key.tenant) || state.recent.contains(row.key) || state.older.contains(row.key)
      }
    }
  }

  /// Learns from what became of rows, which are in the order of their keys.
  func learn(_ rows: [RecordRow], _ written: [WrittenRow]) {
    let taken = zip(rows, written).filter { $0.1.isFound }.map(\.0.key)
    state.withLock { state in
      if taken.isEmpty && state.tenants.isEmpty { return }
      for key in taken {
        state.recent.insert(key)
        if state.recent.count >= keysMax { (state.older, state.recent) = (state.recent, []) }
      }
      var takenCounts: [Int32: Int] = [:]
      for key in taken { takenCounts[key.tenant, default: 0] += 1 }
      var rowCounts: [Int32: Int] = [:]
      for row in rows { rowCounts[row.key.tenant, default: 0] += 1 }
      for (tenant, count) in rowCounts where count >= Self.tenantRowsMin {
        if takenCounts[tenant, default: 0] * 2 >= count {
          if state.tenants.count >= keysMax { state.tenants = [] }
          state.tenants.insert(tenant)
        } else {
          state.tenants.remove(tenant)
        }
      }
    }
  }
}

extension WrittenRow {
  fileprivate var isFound: Bool { if case .found = self { true } else { false } }
}
