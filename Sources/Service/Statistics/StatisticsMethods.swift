import Core
import Messages
public import RPC

extension StatisticsService {
  public var methods: [Method] {
    [.unary(GetStats.self, responseBytesMax: 1024 * 1024) { stats($0, $1) }]
  }
}
