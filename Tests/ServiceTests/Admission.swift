import Core
import RPC
import TestSupport

extension Timestamp {
  /// The server's clock where requests are admitted by `admit`.
  static let ofGate = Timestamp(milliseconds: 1_750_000_000_000)
}

/// A request as the gate lets it through to a service.
func admit<R: Request>(_ request: R) throws -> Admitted<R.Checked> {
  try Gate().admit(request, from: .all(of: "airline"), at: .ofGate)
}
