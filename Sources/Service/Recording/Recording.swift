import Core
import Foundation
import Postgres

extension Statement {
  fileprivate static let beginRecording = Statement("record_begin", PackageResources.record_begin_sql)
  fileprivate static let addChange = Statement(
    "change_add", addChangeText(name: "$1", number: "$2", additions: "$3", lockMax: "$4"))
  fileprivate static let addChangeOfOne = Statement(
    "change_add_distributed", PackageResources.change_add_distributed_sql)

  static func addChangeText(name: String, number: String, additions: String, lockMax: String) -> String {
    sql(
      PackageResources.change_add_sql,
      ["name": name, "number": number, "additions": additions, "lock_max": lockMax])
  }
}

extension Command {
  /// What a transaction that records begins with: the numbers that it takes its tenants to have, and how long it waits for
  /// what others have locked.
  static func beginRecording(_ tenants: [NumberedTenant], _ lockMax: Duration) -> Command {
    Command(.beginRecording) {
      $0.add(tenants.map(\.name.description))
      $0.add(tenants.map(\.key.rawValue))
      $0.add(lockMax.setting)
    }
  }

  /// The same for one tenant, with what the rows add.
  private static func addChange(_ entries: ChangeRecordWriter, of tenant: NumberedTenant, _ lockMax: Duration)
    -> Command
  {
    Command(.addChange) {
      $0.add(tenant.name.description)
      $0.add(tenant.key.rawValue)
      $0.add(entries.bytes)
      $0.add(lockMax.setting)
    }
  }

  /// Begins to record for some tenants, and adds each one's change record.
  static func addChanges(
    _ entries: [TenantKey: ChangeRecordWriter], of tenants: [NumberedTenant], _ lockMax: Duration, isDistributed: Bool
  ) -> [Command] {
    guard isDistributed else { return tenants.map { .addChange(entries[$0.key]!, of: $0, lockMax) } }
    // The registry is on one node and the change record on another: no statement is about both.
    return [.beginRecording(tenants, lockMax)]
      + tenants.map { tenant in
        Command(.addChangeOfOne) {
          $0.add(tenant.key.rawValue)
          $0.add(entries[tenant.key]!.bytes)
        }
      }
  }
}

/// The same as text, for COPY, beside which no parameters can be sent.
func beginRecordingText(_ tenants: [NumberedTenant], _ lockMax: Duration) -> String {
  let names = tenants.map { escapedLiteral($0.name.description) }.joined(separator: ", ")
  let keys = tenants.map { "\($0.key.rawValue)" }.joined(separator: ", ")
  return """
    SELECT set_config('lock_timeout', '\(lockMax.setting)', true),
      parley.begin_recording(ARRAY[\(names)]::text[], ARRAY[\(keys)]::int4[])
    """
}

extension Duration {
  /// As PostgreSQL takes it for a setting.
  var setting: String { "\(wholeMilliseconds)ms" }
}

/// A text as SQL, whatever the server takes backslashes for.
private func escapedLiteral(_ text: String) -> String {
  let isPlain = text.utf8.allSatisfy { $0 != UInt8(ascii: "\\") && $0 != UInt8(ascii: "'") }
  return "E'" + (isPlain ? text : text.replacing("\\", with: "\\\\").replacing("'", with: "''")) + "'"
}

extension [RecordRow] {
  /// Those of each tenant, where they stand in the order of their keys.
  var byTenant: [[RecordRow]] {
    var groups: [[RecordRow]] = []
    for row in self {
      if groups.last?.last?.tenant == row.tenant {
        groups[groups.count - 1].append(row)
      } else {
        groups.append([row])
      }
    }
    return groups
  }
}

extension Collection<RecordRow> {
  /// Each tenant once; and each of its numbers once, where rows disagree.
  var tenants: [NumberedTenant] {
    var tenants: [NumberedTenant] = []
    var seen: Set<NumberedTenant> = []
    for row in self {
      let tenant = NumberedTenant(key: row.tenant, name: row.tenantName)
      // Rows come in the order of their keys, so mostly their tenant is the last one's.
      if tenant != tenants.last, seen.insert(tenant).inserted { tenants.append(tenant) }
    }
    return tenants
  }
}
