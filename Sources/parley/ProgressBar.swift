import CommandSupport

/// A bar on a terminal's standard error; nothing anywhere else.
struct ProgressBar {
  private let total: Int64?
  private var shown = ContinuousClock.now

  init(total: Int64?) {
    self.total = total
  }

  mutating func show(_ bytes: Int64) {
    guard .now - shown > .milliseconds(100) else { return }
    shown = .now
    guard let total, total > 0 else { return LiveLine.show("\(bytes) bytes") }
    let filled = Int(min(bytes, total) * 40 / total)
    LiveLine.show(
      "[\(String(repeating: "#", count: filled))\(String(repeating: ".", count: 40 - filled))] \(bytes * 100 / total)%"
    )
  }
}
