# frozen_string_literal: true

# Drives a Parley server with Ruby's gRPC. It makes its own conversations, so it can run again and
# again on the same database.
require 'parley'

API = Parley::V1

class Failure < StandardError; end

def require_that(fact, otherwise)
  raise Failure, otherwise unless fact
end

# A plausible interaction whose id and texts are its own.
def sample(conversation, at)
  id = Parley.new_id(at)
  API::Interaction.new(
    id: id,
    conversation_id: conversation,
    created_at: Google::Protobuf::Timestamp.new(seconds: at.to_i, nanos: at.nsec / 1_000_000 * 1_000_000),
    customer_message: "Où est ma valise ? 🧳 #{id}",
    agent_response: "It arrives at noon. #{id}",
    detected_intents: [API::Intent.new(name: 'baggage_status', confidence: 0.9)],
    model_used: 'gpt-4o',
    context_size: 1580,
    processing_time_ms: 1192,
    confidence_score: 0.8125,
    message_type: 'text',
    token_usage: API::TokenUsage.new(prompt_tokens: 1558, completion_tokens: 23, total_tokens: 1581),
    estimated_cost_nanos: 4_125_000
  )
end

# Of one conversation, oldest first.
def samples(count)
  conversation = "interop-ruby-#{Parley.new_id}"
  start = Time.now - count
  Array.new(count) { |i| sample(conversation, start + i) }
end

# The checks, and the callers they speak as.
class Checks
  def initialize(address)
    @address = address
    @agent = client(ENV.fetch('PARLEY_TOKEN')) # reads and records
    @reader = client(ENV.fetch('PARLEY_READ_TOKEN')) # the agent's tenant, reads only
    @stranger = client(ENV.fetch('PARLEY_OTHER_TOKEN')) # another tenant
    @nobody = client(nil)
  end

  def client(token)
    Parley.connect(@address, token, timeout: 60)
  end

  def record(interaction, caller: @agent)
    caller.record_interaction(API::RecordInteractionRequest.new(interaction: interaction))
  end

  def record_all(interactions, **options)
    request = API::RecordInteractionsRequest.new(interactions: interactions)
    results = @agent.record_interactions(request, **options).results
    require_that results.size == interactions.size, "#{results.size} results for #{interactions.size}"
    results
  end

  # Records interactions that are all good.
  def record_new(interactions)
    record_all(interactions).zip(interactions).each do |result, interaction|
      require_that result.error.nil?, "of the batch: #{result.error}"
      require_that result.interaction_id == interaction.id, "a result is of #{result.interaction_id}"
    end
  end

  def get(id, caller: @reader, **options)
    caller.get_interaction(API::GetInteractionRequest.new(id: id), **options).interaction
  end

  # Insists that a call fails with this error, a message, and an ErrorInfo; answers the error.
  def refused(want)
    yield
  rescue GRPC::BadStatus => e
    require_that e.is_a?(want), "#{e.message}, want #{want}"
    require_that !e.details.empty?, "#{want} without a message"
    domain = Parley.detail(e, Google::Rpc::ErrorInfo)&.domain
    require_that domain == 'parley', "ErrorInfo's domain is #{domain.inspect}"
    e
  else
    raise Failure, "succeeded, want #{want}"
  end

  def recordAnswersWithId
    sent = samples(1).first
    first = record(sent)
    require_that first.interaction_id == sent.id, "recorded as #{first.interaction_id}"
    require_that first.created_at == sent.created_at, "created at #{first.created_at}"
    require_that !first.already_recorded, 'already recorded the first time'

    again = record(sent)
    require_that again.already_recorded && again.interaction_id == sent.id, "the retry answers #{again}"
  end

  def recordRefusesOtherContent
    sent = samples(1).first
    record(sent)
    sent.agent_response = 'Something else.'
    refused(GRPC::AlreadyExists) { record(sent) }
  end

  def batchKeepsNeighbours
    batch = samples(3)
    batch[1].confidence_score = 1.5
    results = record_all(batch)
    [0, 2].each do |good|
      require_that results[good].error.nil?, "neighbour #{good}: #{results[good].error}"
      require_that results[good].interaction_id == batch[good].id, "result #{good} is of another interaction"
    end
    bad = results[1].error
    require_that bad&.code == GRPC::Core::StatusCodes::INVALID_ARGUMENT, "the bad one: #{bad}"
    require_that bad.details.any?, 'the bad one has no details'
  end

  def listWalksPages
    sent = samples(25)
    record_new(sent)
    filter = API::InteractionFilter.new(conversation_id: sent[0].conversation_id)
    request = API::ListInteractionsRequest.new(filter: filter, page_size: 10, view: :INTERACTION_VIEW_FULL)
    pages = []
    loop do
      page = @reader.list_interactions(request)
      pages << page.interactions.to_a
      request.page_token = page.next_page_token
      break if request.page_token.empty?
    end
    require_that pages.map(&:size) == [10, 10, 5], "pages of #{pages.map(&:size)}"
    listed = pages.flatten.map { |interaction| [interaction.id, interaction.customer_message] }
    wanted = sent.reverse.map { |interaction| [interaction.id, interaction.customer_message] }
    require_that listed == wanted, "listed #{listed}"

    request.view = :INTERACTION_VIEW_BASIC
    @reader.list_interactions(request).interactions.each do |interaction|
      texts = interaction.customer_message + interaction.agent_response
      require_that texts.empty?, 'BASIC shows texts'
    end
  end

  def getAnswersWhatWasSent
    sent = samples(1).first
    record(sent)
    read = get(sent.id)
    require_that read.updated_at, 'no updated_at'
    read.updated_at = nil
    require_that read == sent, "read #{read}, want #{sent}"
  end

  def getRefusesAbsentId
    refused(GRPC::NotFound) { get(Parley.new_id) }
  end

  def getHidesOtherTenants
    sent = samples(1).first
    record(sent)
    refused(GRPC::NotFound) { get(sent.id, caller: @stranger) }
  end

  def statsEqualRecount
    turns = samples(20)
    turns.each_with_index do |turn, i|
      turn.model_used = (i % 3).zero? ? 'gpt-4o-mini' : 'gpt-4o'
      turn.confidence_score = i % 10 / 10.0 + 0.05
      turn.processing_time_ms = i * 377 % 1000
      turn.token_usage = API::TokenUsage.new(prompt_tokens: 11 * i, completion_tokens: i)
      turn.estimated_cost_nanos = i * 1_000_003
      next unless (i % 5).zero?

      turn.handoff_triggered = true
      turn.handoff_reason = 'billing'
    end
    record_new(turns)

    filter = API::InteractionFilter.new(conversation_id: turns[0].conversation_id)
    got = @reader.get_stats(API::GetStatsRequest.new(filter: filter, interval: :STATS_INTERVAL_DAY))
    recount(turns).each do |name, want|
      read = got.totals.public_send(name)
      same = want.is_a?(Float) ? (read - want).abs < 1e-6 : read == want
      require_that same, "#{name} is #{read}, want #{want}"
    end
    models = got.by_model.to_h { |group| [group.key, group.stats.total_interactions] }
    require_that models == turns.map(&:model_used).tally, "by_model is #{models}"
    require_that got.by_handoff_reason.map(&:key) == ['billing'], "by_handoff_reason is #{got.by_handoff_reason}"
    in_series = got.series.sum { |point| point.stats.total_interactions }
    require_that in_series == turns.size, "the series holds #{in_series}"
  end

  def recount(turns)
    count = turns.size
    times = turns.map(&:processing_time_ms).sort
    prompt = turns.sum { |turn| turn.token_usage.prompt_tokens }
    completion = turns.sum { |turn| turn.token_usage.completion_tokens }
    handoffs = turns.count(&:handoff_triggered)
    high = turns.count { |turn| turn.confidence_score >= 0.7 }
    {
      total_interactions: count,
      total_cost_nanos: turns.sum(&:estimated_cost_nanos),
      avg_confidence: turns.sum(&:confidence_score) / count,
      handoff_count: handoffs,
      handoff_rate: handoffs.fdiv(count),
      avg_processing_time_ms: times.sum.fdiv(count),
      p50_processing_time_ms: times[(0.50 * count).ceil - 1],
      p95_processing_time_ms: times[(0.95 * count).ceil - 1],
      p99_processing_time_ms: times[(0.99 * count).ceil - 1],
      prompt_tokens: prompt,
      completion_tokens: completion,
      total_tokens: prompt + completion,
      avg_tokens: (prompt + completion).fdiv(count),
      high_confidence_count: high,
      low_confidence_count: count - high,
      confidence_histogram: Array.new(10) { |i| turns.count { |turn| (turn.confidence_score * 10).floor == i } }
    }
  end

  def refusalCarriesDetails
    bad = samples(1).first
    bad.confidence_score = 1.5
    error = refused(GRPC::InvalidArgument) { record(bad) }
    fields = Parley.detail(error, Google::Rpc::BadRequest).field_violations.map(&:field)
    require_that fields == ['interaction.confidence_score'], "BadRequest names #{fields}"
  end

  def noTokenIsRefused
    refused(GRPC::Unauthenticated) { get(Parley.new_id, caller: @nobody) }
  end

  def missingScopeIsNamed
    error = refused(GRPC::PermissionDenied) { record(samples(1).first, caller: @reader) }
    require_that error.details.include?('interactions:record'), "the scope is not named: #{error.details}"
  end

  def unknownMethodIsUnimplemented
    stub = GRPC::ClientStub.new(@address, :this_channel_is_insecure, timeout: 60)
    as_is = ->(bytes) { bytes }
    stub.request_response('/parley.v1.InteractionService/ForgetInteraction', '', as_is, as_is)
    raise Failure, 'succeeded, want UNIMPLEMENTED'
  rescue GRPC::Unimplemented
    # as it should be
  end

  def passedDeadlineIsExceeded
    get(Parley.new_id, deadline: Time.now - 1)
    raise Failure, 'succeeded, want DEADLINE_EXCEEDED'
  rescue GRPC::DeadlineExceeded
    # as it should be
  end

  # A deadline no server keeps, met on the way: a retry finds what was done.
  def shortDeadlineIsExceeded
    batch = samples(1000)
    batch.each { |interaction| interaction.customer_message = 'x' * 2000 }
    begin
      record_all(batch, deadline: Time.now + 0.001)
      raise Failure, 'succeeded, want DEADLINE_EXCEEDED'
    rescue GRPC::DeadlineExceeded
      record_again(batch)
    end
  end

  # gRPC's C core now and then resets the stream without having opened it, if its deadline passes just
  # then; HTTP/2 has the server end the connection for that (RFC 9113, section 5.1), and the next call
  # may be caught in it. UNAVAILABLE is what one may try again.
  def record_again(batch)
    record_new(batch)
  rescue GRPC::Unavailable
    record_new(batch)
  end
end

CHECKS = %i[
  recordAnswersWithId recordRefusesOtherContent batchKeepsNeighbours listWalksPages
  getAnswersWhatWasSent getRefusesAbsentId getHidesOtherTenants statsEqualRecount
  refusalCarriesDetails noTokenIsRefused missingScopeIsNamed unknownMethodIsUnimplemented
  passedDeadlineIsExceeded shortDeadlineIsExceeded
].freeze

address = ARGV.fetch(0)
transport = address.start_with?('unix:') ? 'unix' : 'tcp'
checks = Checks.new(address)
$stdout.sync = true
failed = 0
CHECKS.each do |name|
  checks.public_send(name)
  puts "ok   ruby #{transport} #{name}"
rescue StandardError => e
  failed += 1
  puts "FAIL ruby #{transport} #{name}: #{e.message}"
end
exit 1 if failed.positive?
