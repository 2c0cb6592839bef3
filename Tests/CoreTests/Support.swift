import Core

/// The server's clock in these tests.
let now = Timestamp(milliseconds: 1_750_000_000_000)

let tenant = Tenant("airline")!

/// Every rule the request breaks, as "field: description".
func violations(of request: some Request, at now: Timestamp = now) -> [String] {
  do throws(RPCError) {
    _ = try request.checked(tenant: tenant, now: now)
    return []
  } catch {
    return error.violations.map { "\($0.field): \($0.description)" }
  }
}

func violations(of draft: InteractionDraft, requestID: String = "") -> [String] {
  violations(of: RecordInteraction(interaction: draft, requestID: requestID))
}

/// The draft as the rules let it through.
func checked(_ draft: InteractionDraft, requestID: String = "") throws -> Interaction {
  try RecordInteraction(interaction: draft, requestID: requestID).checked(tenant: tenant, now: now)
}

/// ASCII text of that many bytes.
func text(_ bytes: Int) -> String { String(repeating: "x", count: bytes) }
