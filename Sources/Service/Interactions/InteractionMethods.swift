import Core
import Messages
public import RPC

extension InteractionService {
  /// As methods of `parley.v1.InteractionService`. Records have small responses, so that recording never waits for a
  /// peer that does not read.
  public var methods: [Method] {
    [
      .unary(RecordInteraction.self) { record($0, $1) },
      .unary(RecordInteractions.self) { record($0, $1) },
      .unary(ListInteractions.self, responseBytesMax: Limits.pageBytesMax) { list($0, $1) },
      .unary(
        GetInteraction.self, responseBytesMax: Limits.customerMessageBytesMax + Limits.agentResponseBytesMax
      ) { get($0, $1) },
      .unary(GetStats.self, responseBytesMax: 1024 * 1024) { stats($0, $1) },
    ]
  }
}
