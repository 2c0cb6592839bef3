/// A value that one interaction in 10,000 has, so that filters by it can be measured. The names are stable.
public enum RareValue: Int, CaseIterable, Sendable {
  case model
  case messageType
  case intent
  case handoffReason
  /// A confidence below `confidenceBelow`.
  case confidence

  public static let oneIn = 10_000

  public static let modelName = "rare-1"
  public static let messageTypeName = "fax"
  public static let intentName = "bereavement_fare"
  public static let handoffReasonName = "legal request"
  public static let confidenceBelow = 0.02
}
