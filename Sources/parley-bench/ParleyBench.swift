import ArgumentParser
import Bench
import CommandSupport
import Core

struct ParleyBench: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "parley-bench",
    abstract: "Put load on a server and measure it.",
    discussion: """
      Without --rate it is a closed loop: --connections times --in-flight calls are always under way. With --rate calls \
      are due at that rate, and their latency counts from when they were due. Errors are counted by their codes; if there are \
      any, the exit status is 1. Ctrl-C prints what was measured so far.

      Contents are random: texts of log-normal length (the customer's about 120 bytes, the agent's about 400), models, \
      types, intents and reasons of skewed shares, and values that one interaction in \(RareValue.oneIn) has: model \
      \(RareValue.modelName), type \(RareValue.messageTypeName), intent \(RareValue.intentName), reason \
      "\(RareValue.handoffReasonName)", and a confidence below \(RareValue.confidenceBelow).
      """,
    version: Version.current,
    subcommands: [
      BenchRecord.self, BenchGet.self, BenchList.self, BenchStats.self, BenchMixed.self, BenchLimits.self,
      BenchFairness.self, BenchRepeats.self,
    ])
}

@main
enum Program {
  static func main() { ParleyBench.runToEnd() }
}
