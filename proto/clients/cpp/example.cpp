// Records an interaction, reads it back, asks for statistics, and shows what errors say.
#include <cstdlib>
#include <iostream>

#include "parley.h"

namespace api = parley::v1;

static void must(const grpc::Status& status) {
  if (status.ok()) return;
  std::cerr << status.error_code() << ": " << status.error_message() << "\n";
  std::exit(1);
}

int main() {
  const std::string token = std::getenv("PARLEY_TOKEN");
  auto client = api::InteractionService::NewStub(parley::connect(std::getenv("PARLEY_ADDRESS")));

  api::RecordInteractionRequest record;
  auto* interaction = record.mutable_interaction();
  interaction->set_id(parley::new_id());
  interaction->set_conversation_id("example-cpp");
  interaction->set_customer_message("Where is my bag?");
  interaction->set_agent_response("It arrives at noon.");
  interaction->set_model_used("gpt-4o");
  interaction->set_processing_time_ms(1192);
  interaction->set_confidence_score(0.81);
  interaction->mutable_token_usage()->set_prompt_tokens(1558);
  interaction->mutable_token_usage()->set_completion_tokens(23);
  auto* intent = interaction->add_detected_intents();
  intent->set_name("baggage_status");
  intent->set_confidence(0.9);

  api::RecordInteractionResponse recorded;
  parley::Call recording(token);
  must(client->RecordInteraction(&recording, record, &recorded));
  std::cout << "recorded " << recorded.interaction_id() << "\n";

  api::ListInteractionsRequest list;
  list.mutable_filter()->set_conversation_id("example-cpp");
  list.set_page_size(10);
  for (int pages = 0; pages < 3; ++pages) {
    api::ListInteractionsResponse page;
    parley::Call listing(token);
    must(client->ListInteractions(&listing, list, &page));
    for (const auto& listed : page.interactions()) std::cout << "listed " << listed.id() << "\n";
    if (page.next_page_token().empty()) break;
    list.set_page_token(page.next_page_token());
  }

  api::GetInteractionRequest get;
  get.set_id(recorded.interaction_id());
  api::GetInteractionResponse read;
  parley::Call getting(token);
  must(client->GetInteraction(&getting, get, &read));
  std::cout << "read " << read.interaction().agent_response() << "\n";

  api::GetStatsRequest ask;
  ask.mutable_filter()->set_conversation_id("example-cpp");
  api::GetStatsResponse stats;
  parley::Call asking(token);
  must(client->GetStats(&asking, ask, &stats));
  std::cout << "stats " << stats.totals().total_interactions() << " interactions, "
            << stats.totals().total_tokens() << " tokens\n";

  interaction->set_confidence_score(1.5);
  parley::Call breaking_a_rule(token);
  const auto refused = client->RecordInteraction(&breaking_a_rule, record, &recorded);
  if (refused.error_code() != grpc::StatusCode::INVALID_ARGUMENT) return 1;
  const auto broken = parley::detail<google::rpc::BadRequest>(refused);
  for (const auto& violation : broken.field_violations()) {
    std::cout << "refused " << violation.field() << " " << violation.description() << "\n";
  }
  const auto why = parley::detail<google::rpc::ErrorInfo>(refused);
  std::cout << "refused by " << why.domain() << " " << why.reason() << "\n";

  parley::Call passed(token, std::chrono::seconds(-1));
  const auto late = client->GetInteraction(&passed, get, &read);
  if (late.error_code() != grpc::StatusCode::DEADLINE_EXCEEDED) return 1;
  std::cout << "too late: " << late.error_message() << "\n";
}
