# frozen_string_literal: true

# Records an interaction, reads it back, asks for statistics, and shows what errors say.
require 'parley'

client = Parley.connect(ENV.fetch('PARLEY_ADDRESS'), ENV.fetch('PARLEY_TOKEN'))
API = Parley::V1

interaction = API::Interaction.new(
  id: Parley.new_id,
  conversation_id: 'example-ruby',
  customer_message: 'Where is my bag?',
  agent_response: 'It arrives at noon.',
  detected_intents: [API::Intent.new(name: 'baggage_status', confidence: 0.9)],
  model_used: 'gpt-4o',
  processing_time_ms: 1192,
  confidence_score: 0.81,
  token_usage: API::TokenUsage.new(prompt_tokens: 1558, completion_tokens: 23)
)
recorded = client.record_interaction(API::RecordInteractionRequest.new(interaction: interaction))
puts "recorded #{recorded.interaction_id}"

filter = API::InteractionFilter.new(conversation_id: 'example-ruby')
list = API::ListInteractionsRequest.new(filter: filter, page_size: 10)
3.times do
  page = client.list_interactions(list)
  page.interactions.each { |listed| puts "listed #{listed.id}" }
  break if page.next_page_token.empty?

  list.page_token = page.next_page_token
end

get = API::GetInteractionRequest.new(id: recorded.interaction_id)
puts "read #{client.get_interaction(get).interaction.agent_response}"

stats = client.get_stats(API::GetStatsRequest.new(filter: filter)).totals
puts "stats #{stats.total_interactions} interactions, #{stats.total_tokens} tokens"

begin
  interaction.confidence_score = 1.5
  client.record_interaction(API::RecordInteractionRequest.new(interaction: interaction))
  abort 'a confidence of 1.5 is not refused'
rescue GRPC::InvalidArgument => e
  Parley.detail(e, Google::Rpc::BadRequest).field_violations.each do |violation|
    puts "refused #{violation.field} #{violation.description}"
  end
  why = Parley.detail(e, Google::Rpc::ErrorInfo)
  puts "refused by #{why.domain} #{why.reason}"
end

begin
  client.get_interaction(get, deadline: Time.now - 1)
  abort 'a deadline that has passed is not noticed'
rescue GRPC::DeadlineExceeded => e
  puts "too late: #{e.details}"
end
