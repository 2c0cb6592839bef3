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
  /// Groups in one list of a `GetStats` response. The smallest groups beyond are added up in one group, the remainder.
  public static let statsGroupsMax = 1000

  // MARK: The log

  /// A failure that repeats is logged again after one second, then after twice that pause, and so on up to this pause.
  public static let repeatedFailurePauseSecondsMax: Int64 = 60
  /// So many kinds of failures are counted apart.
  public static let failureKindsMax = 256

  // MARK: Claims

  public static let tenantBytesMax = 128
  public static let tokenBytesMax = 8 * 1024
  public static let verifiedTokensCachedMax = 8192
  /// Levels of JSON in a token's header or claims.
  public static let tokenNestingMax = 16
  /// So many calls with new tokens wait until a signature has been checked.
  public static let signatureChecksWaitingMax = 1024

  // MARK: The wire

  /// The data of one ttRPC frame (containerd's `messageLengthMax`).
  public static let frameBytesMax = 4 * 1024 * 1024
  /// An oversized frame of up to this size is discarded, and only its call fails. A larger one closes the connection, so that
  /// no peer can make the server read without end.
  public static let frameDiscardBytesMax = 16 * 1024 * 1024 - 1
  public static let metadataEntriesMax = 64
  public static let metadataBytesMax = 16 * 1024
  /// The HTTP/2 headers of a request. It is more than `metadataBytesMax`, so that a call with too much metadata fails alone
  /// with an error that says so. Headers beyond this limit end the stream, or the connection with its other calls.
  public static let headerListBytesMax = 64 * 1024

  // MARK: A connection

  /// A process that may not open enough files has fewer.
  public static let connectionsMax = 8192
  /// File descriptors that are kept for event loops, files and pipes.
  public static let descriptorsReserved = 98
  /// Also kept, for each connection to PostgreSQL: a socket and a pipe.
  public static let descriptorsPerPostgresConnection = 3
  /// Connections of one listener that have not yet shown which protocol they speak. One more closes the oldest.
  public static let undecidedConnectionsMax = 1024
  public static let undecidedSecondsMax: Int64 = 10
  /// A ttRPC connection without calls is closed after this, unless it has made one with a valid token.
  public static let strangerIdleSecondsMax: Int64 = 60
  /// A connection that has made a call with a valid token may be closed to make room for others when it has had no call under
  /// way, and no response unread, for this long.
  public static let knownIdleSecondsMin: Int64 = 120
  /// A frame that has begun must be complete by then.
  public static let frameSecondsMax: Int64 = 30
  public static let callsInFlightPerConnectionMax = 1024
  public static let callBytesInFlightPerConnectionMax = 16 * 1024 * 1024
  public static let callBytesInFlightMax = 512 * 1024 * 1024
  /// The part of that for the calls of one tenant, or of one connection whose tenant is not known yet.
  public static let callBytesInFlightPerTenantMax = callBytesInFlightMax / 4
  /// If a tenant's calls hold more, the server reads no further from those of its connections that have a call under way.
  /// Further calls then wait in the sockets, where they cost other tenants nothing. This is less than the tenant's part of the
  /// record queue.
  public static let callBytesReadPerTenantMax = 32 * 1024 * 1024
  /// Requests that have not arrived whole, of connections that have made a call with a valid token.
  public static let unfinishedRequestBytesMax = 512 * 1024 * 1024
  /// The same of all others. (Each connection has less than 64 KiB that is not counted.)
  public static let unfinishedStrangerRequestBytesMax = 64 * 1024 * 1024
  /// Responses of one connection that its peer has not read, and room for those of calls under way. Further calls wait. A
  /// connection whose unread responses exceed this by a whole message is closed.
  public static let unreadResponseBytesPerConnectionMax = 16 * pageBytesMax
  /// Unread responses of all connections. If there are more, the connection is closed that holds most for longest.
  public static let unreadResponseBytesMax = 256 * 1024 * 1024
  /// A connection is closed if its peer reads nothing of waiting responses for this long.
  public static let unreadResponseSecondsMax: Int64 = 60
  /// The longest a call may take, whatever deadline it brings.
  public static let callSecondsMax: Int64 = 60
  /// PING, SETTINGS and similar frames of one gRPC connection.
  public static let controlFramesPerHalfMinuteMax = 3000
  /// Calls that the peer of one gRPC connection has reset.
  public static let streamResetsPerHalfMinuteMax = 2000
  public static let drainSecondsMax: Int64 = 30
  /// How long a gRPC peer has for the PING behind a GOAWAY before its further calls are refused.
  public static let goAwaySecondsMax: Int64 = 3
  /// If nothing was read from a draining ttRPC connection for this long, no further call is taken to be on its way.
  public static let drainQuietMilliseconds: Int64 = 200
  /// How long the server reads on from a connection that it ends, so that the peer gets all that was written.
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
  /// A read that holds a connection for longer than this is stopped, and begins again as one that scans rows.
  public static let keyedReadMillisecondsMax = 250
  /// A read waits for this long for what others have locked. It is less than `keyedReadMillisecondsMax`, because the read would
  /// otherwise begin again as one that scans rows, and hold one of those few connections while it waits.
  public static let readLockMillisecondsMax = keyedReadMillisecondsMax - 50
  /// The read then waits for this long without a connection, and tries once more. All of it takes about a second.
  public static let readLockPauseMilliseconds = 600
  /// A record waits for this long for what others have locked.
  public static let recordLockMillisecondsMax = 1000
  /// A tenant that records alone waits for no longer than this after a batch, to leave the database to others' reads.
  public static let recordGivingWayMillisecondsMax = 100
  /// A batch takes milliseconds; a writer that has been at one for longer than this is stuck.
  public static let batchSecondsMax: Int64 = 10
  /// The server is not ready when every batch has failed for this long.
  public static let recordingFailingSecondsMax: Int64 = 10
  /// The health check waits for PostgreSQL no longer than this.
  public static let healthCheckSecondsMax: Int64 = 2
  /// Records that wait until the number of a tenant is looked up, which the server has not seen since its start.
  public static let tenantLookupsWaitingMax = 4096
  /// Gets of one tenant at the same time share statements, each of at most this many interactions.
  public static let getsPerStatementMax = 64
  /// At most this many while gets of other tenants wait, too.
  public static let getsPerSharedTurnMax = 16
  /// Statements of gets of one tenant that run, or wait, as reads that scan rows.
  public static let longGetStatementsPerTenantMax = 64
  /// For up to this many interactions statistics are computed from the rows, so that percentiles are exact.
  public static let exactStatsInteractionsMax = 2000
  /// The server holds at most this many groups in memory. If there are more, PostgreSQL computes the statistics from rows.
  public static let statsGroupsHeldMax = 50_000
  /// The same holds if one part of a range has this many rollups or more.
  public static let rollupsReadMax = 200_000
  /// A list reads the rows of up to this many stale hours, and uses posting lists for the other hours. If more are stale, it
  /// reads the rows of its whole range.
  public static let staleHoursListedMax = 48
  /// A list that finds more interactions than this in the change log reads the rows of its whole range.
  public static let pendingIDsHeldMax = 10_000
  /// A list first looks through this many interactions, and only then uses posting lists.
  public static let interactionsLookedThrough = 1000
  /// Chunks of posting lists that are counted to find the rarest value of a filter.
  public static let postingsWeighedMax = 1000
  /// Chunks of posting lists, of up to 120 interactions each, that one statement reads.
  public static let postingsReadAtOnce = 64
  /// If the posting lists of an hour have more chunks than this together, a list reads the hour's rows instead.
  public static let postingsReadMax = 4096
  public static let changeRecordsPerMerge = 4096
  /// A change record has about 50 bytes for an interaction, which take several times as much in memory.
  public static let changeRecordBytesPerMerge = 4 * 1024 * 1024
  /// No change record is longer, because it holds less of its interactions than a batch does.
  public static let changeRecordBytesMax = recordBatchBytesMax
  /// No change record has more entries: this is far more than a batch has interactions.
  public static let changeRecordEntriesMax = recordQueueInteractionsMax
  /// One transaction rebuilds the hours of at most this many interactions; a single hour may have more.
  public static let rebuildInteractionsMax = 100_000
  /// A rebuild holds about this many rollups in memory before it writes them.
  public static let rollupsHeldMax = 20_000
  /// A job waits for this long for what others have locked. Then the tenant's work, or the job, is put off.
  public static let jobLockMillisecondsMax = 1000
  /// When a server stops, its rollup job merges what is left for at most this long. The next server merges the rest.
  public static let jobStopSecondsMax: Int64 = 10
  /// A job remembers at most this many tenants whose work is put off after a failure. It tries others again at once.
  public static let tenantsPutOffMax = 1000
  /// At most this many hours of a tenant are put off because they cannot be rebuilt. If there are more, the tenant is put off.
  public static let failedHoursMax = 1000
  /// One statement reads or writes at most this many rollups, or posting lists.
  public static let keysPerStatement = 1000
  public static let entriesPerStatement = 5000
  public static let tenantsCachedMax = 65_536
}
