import Core
import Messages
public import RPC

extension RecordingService {
  /// They have small responses, so that recording never waits for a peer that does not read.
  public var methods: [Method] {
    [
      .unary(RecordInteraction.self) { record($0, $1) },
      .unary(RecordInteractions.self) { record($0, $1) },
    ]
  }
}
