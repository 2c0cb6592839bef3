/// The one error of the service: what a caller is told, the same over every protocol.
///
/// `code` is one of gRPC's closed set, `reason` and `violations` travel as `google.rpc.ErrorInfo` and
/// `google.rpc.BadRequest`, `retryAfter` as `google.rpc.RetryInfo`. `cause` is for the log alone and
/// never leaves the server.
public struct RPCError: Error, Hashable, Sendable {
  /// gRPC's status codes, without OK (google/rpc/code.proto).
  public enum Code: Int32, Sendable, CaseIterable {
    case cancelled = 1
    case unknown = 2
    case invalidArgument = 3
    case deadlineExceeded = 4
    case notFound = 5
    case alreadyExists = 6
    case permissionDenied = 7
    case resourceExhausted = 8
    case failedPrecondition = 9
    case aborted = 10
    case outOfRange = 11
    case unimplemented = 12
    case `internal` = 13
    case unavailable = 14
    case dataLoss = 15
    case unauthenticated = 16

    /// The name in google/rpc/code.proto.
    public var name: String {
      switch self {
      case .cancelled: "CANCELLED"
      case .unknown: "UNKNOWN"
      case .invalidArgument: "INVALID_ARGUMENT"
      case .deadlineExceeded: "DEADLINE_EXCEEDED"
      case .notFound: "NOT_FOUND"
      case .alreadyExists: "ALREADY_EXISTS"
      case .permissionDenied: "PERMISSION_DENIED"
      case .resourceExhausted: "RESOURCE_EXHAUSTED"
      case .failedPrecondition: "FAILED_PRECONDITION"
      case .aborted: "ABORTED"
      case .outOfRange: "OUT_OF_RANGE"
      case .unimplemented: "UNIMPLEMENTED"
      case .internal: "INTERNAL"
      case .unavailable: "UNAVAILABLE"
      case .dataLoss: "DATA_LOSS"
      case .unauthenticated: "UNAUTHENTICATED"
      }
    }
  }

  /// What happened, for programs: UPPER_SNAKE, stable for ever. A client may meet reasons newer than
  /// itself, so the set is open on that side.
  public struct Reason: RawRepresentable, Hashable, Sendable {
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
  }

  /// A field that broke a rule: its path in the request, and given and allowed in words.
  public struct FieldViolation: Hashable, Sendable {
    public var field: String
    public var description: String

    public init(field: String, description: String) {
      self.field = field
      self.description = description
    }
  }

  /// The `domain` of every `google.rpc.ErrorInfo` the service sends.
  public static let domain = "parley"

  public var code: Code
  public var reason: Reason
  public var message: String
  public var violations: [FieldViolation]
  public var metadata: [String: String]
  public var retryAfter: Duration?
  public var cause: String?

  public init(
    _ code: Code, _ reason: Reason, _ message: String, violations: [FieldViolation] = [],
    metadata: [String: String] = [:], retryAfter: Duration? = nil, cause: String? = nil
  ) {
    self.code = code
    self.reason = reason
    self.message = message
    self.violations = violations
    self.metadata = metadata
    self.retryAfter = retryAfter
    self.cause = cause
  }
}

extension RPCError.Reason {
  public static let fieldInvalid = Self(rawValue: "FIELD_INVALID")
  public static let requestMalformed = Self(rawValue: "REQUEST_MALFORMED")
  public static let pageTokenInvalid = Self(rawValue: "PAGE_TOKEN_INVALID")
  public static let streamIDInvalid = Self(rawValue: "STREAM_ID_INVALID")
  public static let messageTooLarge = Self(rawValue: "MESSAGE_TOO_LARGE")
  public static let interactionNotFound = Self(rawValue: "INTERACTION_NOT_FOUND")
  public static let interactionConflict = Self(rawValue: "INTERACTION_CONFLICT")
  public static let interactionRefused = Self(rawValue: "INTERACTION_REFUSED")
  public static let serviceUnknown = Self(rawValue: "SERVICE_UNKNOWN")
  public static let tokenMissing = Self(rawValue: "TOKEN_MISSING")
  public static let tokenInvalid = Self(rawValue: "TOKEN_INVALID")
  public static let tokenExpired = Self(rawValue: "TOKEN_EXPIRED")
  public static let metadataInvalid = Self(rawValue: "METADATA_INVALID")
  public static let tenantMismatch = Self(rawValue: "TENANT_MISMATCH")
  public static let scopeMissing = Self(rawValue: "SCOPE_MISSING")
  public static let methodUnknown = Self(rawValue: "METHOD_UNKNOWN")
  public static let encodingUnknown = Self(rawValue: "ENCODING_UNKNOWN")
  public static let messageCountWrong = Self(rawValue: "MESSAGE_COUNT_WRONG")
  public static let streamingUnsupported = Self(rawValue: "STREAMING_UNSUPPORTED")
  public static let deadlineExceeded = Self(rawValue: "DEADLINE_EXCEEDED")
  public static let callCancelled = Self(rawValue: "CALL_CANCELLED")
  public static let databaseUnavailable = Self(rawValue: "DATABASE_UNAVAILABLE")
  public static let overloaded = Self(rawValue: "OVERLOADED")
  public static let draining = Self(rawValue: "DRAINING")
  public static let connectionLost = Self(rawValue: "CONNECTION_LOST")
  public static let sumOutOfRange = Self(rawValue: "SUM_OUT_OF_RANGE")
  public static let internalError = Self(rawValue: "INTERNAL_ERROR")
}

extension RPCError {
  /// Fields that break rules. The message names each, so that it suffices without the details.
  public static func invalid(_ violations: [FieldViolation]) -> RPCError {
    RPCError(
      .invalidArgument, .fieldInvalid,
      violations.map { "\($0.field): \($0.description)" }.joined(separator: "; "),
      violations: violations)
  }

  public static func invalid(_ field: String, _ description: String) -> RPCError {
    invalid([FieldViolation(field: field, description: description)])
  }

  public static let deadlineExceeded = RPCError(
    .deadlineExceeded, .deadlineExceeded,
    "the deadline passed before the call was done; retry it, and a record with the same id, because it may be committed"
  )

  public static let cancelled = RPCError(.cancelled, .callCancelled, "the caller cancelled the call")

  public static func databaseUnavailable(cause: String) -> RPCError {
    RPCError(
      .unavailable, .databaseUnavailable, "the database is not available; retry with the same id",
      retryAfter: .seconds(1), cause: cause)
  }

  public static func databaseLocked(cause: String) -> RPCError {
    RPCError(
      .unavailable, .databaseUnavailable, "what the call is about is locked in the database; retry with the same id",
      retryAfter: .seconds(1), cause: cause)
  }

  public static func readLocked(cause: String) -> RPCError {
    RPCError(
      .unavailable, .databaseUnavailable,
      "what the read needs is locked by another session of the database; retry later",
      retryAfter: .seconds(1), cause: cause)
  }

  public static func overloaded(_ what: String) -> RPCError {
    RPCError(
      .resourceExhausted, .overloaded, "\(what); nothing was done, retry later",
      retryAfter: .milliseconds(200))
  }

  public static let draining = RPCError(
    .unavailable, .draining, "the server is shutting down; retry on another connection",
    retryAfter: .seconds(1))

  public static func `internal`(cause: String) -> RPCError {
    RPCError(.internal, .internalError, "an unexpected error; the server's log has the rest", cause: cause)
  }
}
