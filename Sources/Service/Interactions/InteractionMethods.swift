import Core
import Messages
public import RPC

extension InteractionService {
  public var methods: [Method] {
    [
      .unary(ListInteractions.self, responseBytesMax: Limits.pageBytesMax) { list($0, $1) },
      .unary(
        GetInteraction.self, responseBytesMax: Limits.customerMessageBytesMax + Limits.agentResponseBytesMax
      ) { get($0, $1) },
    ]
  }
}
