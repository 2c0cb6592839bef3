/// Every limit of the service, in one place. Errors quote these values; `proto/PROTOCOL.md` lists them.
public enum Limits {
  // MARK: An interaction

  public static let customerMessageBytesMax = 64 * 1024
  public static let agentResponseBytesMax = 64 * 1024
  public static let conversationIDBytesMax = 128
  public static let modelUsedBytesMax = 128
  public static let handoffReasonBytesMax = 256
  public static let messageTypeBytesMax = 20
  public static let intentsMax = 64
  public static let intentNameBytesMax = 128
  public static let requestIDBytesMax = 128
  /// US dollars × 10⁻⁹: nine million dollars for one turn.
  public static let costNanosMax: Int64 = 9_000_000_000_000_000
  /// How far ahead of the server's clock an interaction may lie.
  public static let createdAheadMillisecondsMax: Int64 = 24 * 60 * 60 * 1000

  // MARK: A request

  /// An error names at most this many broken rules, because gRPC clients accept about 8 KiB of trailers.
  public static let violationsMax = 16

  public static let batchInteractionsMax = 1000
  public static let pageSizeDefault = 50
  public static let pageSizeMax = 200
  /// A page ends early rather than pass this, so that with its envelope it stays below what
  /// clients accept in one message (4 MiB).
  public static let pageBytesMax = 3 * 1024 * 1024
  public static let statsDaysDefault: Int64 = 30
  public static let statsHourPointsMax: Int64 = 400 * 24
  public static let statsDayPointsMax: Int64 = 9600
  /// Groups in one list of a `GetStats` answer; what lies beyond is told together as a remainder.
  public static let statsGroupsMax = 1000

  // MARK: The log

  /// A failure of a kind that repeats is told again after a second, then after twice that, and so on up to this.
  public static let repeatedFailurePauseSecondsMax: Int64 = 60
  /// Kinds of failures that are told apart.
  public static let failureKindsMax = 256

  // MARK: Claims

  public static let tenantBytesMax = 128
  public static let tokenBytesMax = 8 * 1024
  public static let verifiedTokensCachedMax = 8192
  /// Levels of JSON in a token's header or claims.
  public static let tokenNestingMax = 16
  /// Calls whose tokens are new, and wait for their signatures to be checked.
  public static let signatureChecksWaitingMax = 1024

  // MARK: The wire

  /// The data of one ttRPC frame (containerd's `messageLengthMax`).
  public static let frameBytesMax = 4 * 1024 * 1024
  /// An oversized frame up to this size is read and thrown away, and fails alone; past it the
  /// connection closes, so that no peer can make the server read without end.
  public static let frameDiscardBytesMax = 16 * 1024 * 1024 - 1
  public static let metadataEntriesMax = 64
  public static let metadataBytesMax = 16 * 1024
  /// What HTTP/2 reads of a request's headers. More than `metadataBytesMax`, so that a caller who passes
  /// that is told so: past this the connection ends, and with it other calls.
  public static let headerListBytesMax = 64 * 1024

  // MARK: A connection

  /// Fewer where the process may not open as many files.
  public static let connectionsMax = 8192
  /// File descriptors that connections leave to event loops, files and pipes.
  public static let descriptorsReserved = 98
  /// And to each connection to PostgreSQL: a socket and a pipe.
  public static let descriptorsPerPostgresConnection = 3
  /// Connections of one listener that have not yet shown which protocol they speak. The oldest makes room.
  public static let undecidedConnectionsMax = 1024
  public static let undecidedSecondsMax: Int64 = 10
  /// A ttRPC connection without calls is closed after this, unless it has made one with a valid token.
  public static let strangerIdleSecondsMax: Int64 = 60
  /// A connection that has made a call with a valid token makes room for others when it has had no call under way, and no
  /// response unread, for so long.
  public static let knownIdleSecondsMin: Int64 = 120
  /// A frame that has begun must be complete by then.
  public static let frameSecondsMax: Int64 = 30
  public static let callsInFlightPerConnectionMax = 1024
  public static let callBytesInFlightPerConnectionMax = 16 * 1024 * 1024
  public static let callBytesInFlightMax = 512 * 1024 * 1024
  /// What the calls of one tenant may take of that, or those of one connection whose tenants are not known yet.
  public static let callBytesInFlightPerTenantMax = callBytesInFlightMax / 4
  /// Past this, no more is read of a tenant's connection that has a call under way: it waits in its socket, where it costs
  /// the other tenants nothing. This is less than the record queue takes of a tenant.
  public static let callBytesReadPerTenantMax = 32 * 1024 * 1024
  /// Requests that are not complete, of connections that have made a call with a valid token.
  public static let unfinishedRequestBytesMax = 512 * 1024 * 1024
  /// The same of all others. (Each connection has less than 64 KiB that is not counted.)
  public static let unfinishedStrangerRequestBytesMax = 64 * 1024 * 1024
  /// Responses of one connection that its peer has not read, with the most that those to come may need; calls
  /// that ask for more wait. A connection that passes this by a message is closed.
  public static let unreadResponseBytesPerConnectionMax = 16 * pageBytesMax
  /// The same over all connections. Past it, the connection is closed that holds most for longest.
  public static let unreadResponseBytesMax = 256 * 1024 * 1024
  /// Answers that wait for a peer must move within this.
  public static let unreadResponseSecondsMax: Int64 = 60
  /// The longest a call may take, whatever deadline it brings.
  public static let callSecondsMax: Int64 = 60
  /// Of a gRPC connection: PING, SETTINGS and the like.
  public static let controlFramesPerHalfMinuteMax = 3000
  /// Of a gRPC connection: calls that the peer gave up.
  public static let streamResetsPerHalfMinuteMax = 2000
  public static let drainSecondsMax: Int64 = 30
  /// How long a gRPC peer has for the PING behind a GOAWAY before its further calls are refused.
  public static let goAwaySecondsMax: Int64 = 3
  /// A draining ttRPC connection on which nothing was read for this long has no calls on their way.
  public static let drainQuietMilliseconds: Int64 = 200
  /// How long a connection that is ended goes on reading, so that the peer gets what was written for it.
  public static let lingerSecondsMax: Int64 = 2

  // MARK: The store

  public static let recordQueueInteractionsMax = 131_072
  public static let recordQueueBytesMax = 256 * 1024 * 1024
  /// One tenant may fill half of the queue, so that the others still get in.
  public static let recordQueueInteractionsPerTenantMax = recordQueueInteractionsMax / 2
  public static let recordQueueBytesPerTenantMax = recordQueueBytesMax / 2
  /// A tenant's turn is this many interactions long; then the next tenant has its turn.
  public static let recordTurnInteractions = 64
  public static let recordBatchInteractionsMax = 2000
  public static let recordBatchBytesMax = 16 * 1024 * 1024
  /// Reads that wait for a connection: of each kind (gets; lists and statistics; those of them that scan rows).
  public static let readsWaitingMax = 8192
  public static let readsWaitingPerTenantMax = readsWaitingMax / 2
  /// A read that holds a connection for longer than this goes on among those that scan rows.
  public static let keyedReadMillisecondsMax = 250
  /// A read waits for this long for what others have locked. It ends before it would go on among the reads that scan rows,
  /// because it would hold one of their few connections while it waits.
  public static let readLockMillisecondsMax = keyedReadMillisecondsMax - 50
  /// The read then waits for this long without a connection, and tries once more. All of it takes about a second.
  public static let readLockPauseMilliseconds = 600
  /// What others have locked is waited for so long by a record.
  public static let recordLockMillisecondsMax = 1000
  /// A tenant that records alone leaves the database to others' reads for no longer than this after a batch.
  public static let recordGivingWayMillisecondsMax = 100
  /// A batch takes milliseconds; a writer that has been at one for longer than this is stuck.
  public static let batchSecondsMax: Int64 = 10
  /// The server is not ready when every batch has failed for this long.
  public static let recordingFailingSecondsMax: Int64 = 10
  /// The health check waits for PostgreSQL no longer than this.
  public static let healthCheckSecondsMax: Int64 = 2
  /// Records of tenants not seen since the server's start.
  public static let tenantLookupsWaitingMax = 4096
  /// One statement reads at most this many interactions, which gets of one tenant ask for at the same time.
  public static let getsPerStatementMax = 64
  /// At most this many while other tenants ask for interactions, too.
  public static let getsPerSharedTurnMax = 16
  /// Statements of gets of one tenant that go on among the reads that scan rows.
  public static let longGetStatementsPerTenantMax = 64
  /// For up to this many interactions statistics are computed from the rows, so that percentiles are exact.
  public static let exactStatsInteractionsMax = 2000
  /// Statistics with more groups than are held in memory are read from the rows by PostgreSQL.
  public static let statsGroupsHeldMax = 50_000
  /// So are those of more rollups than this, in one of the parts that a range has.
  public static let rollupsReadMax = 200_000
  /// A list reads the rows of so many stale hours, and goes by posting lists in the others; past that it reads through
  /// the rows of its whole range.
  public static let staleHoursListedMax = 48
  /// A list that finds more interactions than this in the change log reads through the rows.
  public static let pendingIDsHeldMax = 10_000
  /// A list looks through so many interactions itself before it asks postings where to look.
  public static let interactionsLookedThrough = 1000
  /// Chunks of postings that are counted to find the rarest of a filter's values.
  public static let postingsWeighedMax = 1000
  /// Chunks of postings, of up to 120 interactions each.
  public static let postingsReadAtOnce = 64
  /// Hours whose posting lists have more chunks than this together are read through row by row.
  public static let postingsReadMax = 4096
  public static let changeRecordsPerMerge = 4096
  /// Some 50 bytes an interaction, which takes several times as much in memory.
  public static let changeRecordBytesPerMerge = 4 * 1024 * 1024
  /// No change record takes more, for it holds less of its interactions than a batch does.
  public static let changeRecordBytesMax = recordBatchBytesMax
  /// Nor has one more entries: far more than a batch has interactions.
  public static let changeRecordEntriesMax = recordQueueInteractionsMax
  /// Interactions whose rollups and posting lists are rebuilt in one transaction, but for those of a single hour.
  public static let rebuildInteractionsMax = 100_000
  /// Rollups in memory until they are put into their table, while hours are rebuilt.
  public static let rollupsHeldMax = 20_000
  /// What others have locked is waited for so long by a job; then that tenant's work, or the job, is put off.
  public static let jobLockMillisecondsMax = 1000
  /// When a server stops, the rollup job has so long to merge what is left; the next server merges the rest.
  public static let jobStopSecondsMax: Int64 = 10
  /// Tenants whose work is put off after a failure; one more is tried as if it had not failed.
  public static let tenantsPutOffMax = 1000
  /// Hours of a tenant that are put off because they cannot be rebuilt; where there are more, the tenant is.
  public static let failedHoursMax = 1000
  /// One statement reads or writes at most this many rollups, or posting lists.
  public static let keysPerStatement = 1000
  public static let entriesPerStatement = 5000
  public static let tenantsCachedMax = 65_536
}
