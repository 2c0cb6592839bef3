import CommandSupport
import Core

/// Says what was recorded.
struct RecordedNotice {
  let recorded: Recorded
  /// How to ask for the same interaction again, such as `--id ID`.
  let sameInteraction: String

  /// An interaction whose id could not be told is there all the same: an unsuspecting retry would record another.
  func show(json: Bool) throws {
    do {
      try json ? showJSON() : printLine("\(recorded.alreadyRecorded ? "already recorded" : "recorded") \(recorded.id)")
    } catch let failure as OutputFailure where !failure.isReaderGone {
      throw CommandFailure(
        "the interaction \(recorded.id) was recorded (a retry with \(sameInteraction) adds nothing), but \(failure)")
    }
  }

  private func showJSON() throws {
    try printJSON(
      RecordedJSON(
        interactionId: recorded.id.description, createdAt: recorded.createdAt.rfc3339,
        alreadyRecorded: recorded.alreadyRecorded))
  }
}
