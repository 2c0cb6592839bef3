// Drives a Parley server with gRPC C++. It makes its own conversations, so it can run again and again
// on the same database.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <map>
#include <stdexcept>
#include <vector>

#include <google/protobuf/util/message_differencer.h>
#include <grpcpp/generic/generic_stub.h>

#include "parley.h"

namespace api = parley::v1;
using google::protobuf::util::MessageDifferencer;
using grpc::Status;
using grpc::StatusCode;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::system_clock;

static void require(bool ok, const std::string& otherwise) {
  if (!ok) throw std::runtime_error(otherwise);
}

static std::string described(const Status& status) {
  return std::to_string(status.error_code()) + " (" + status.error_message() + ")";
}

static void must(const Status& status) { require(status.ok(), described(status)); }

// Insists that a call failed with this code, a message, and an ErrorInfo.
static void refused(const Status& status, StatusCode want) {
  require(status.error_code() == want, described(status) + ", want " + std::to_string(want));
  require(!status.error_message().empty(), "an error without a message");
  const auto info = parley::detail<google::rpc::ErrorInfo>(status);
  require(info.domain() == "parley", "ErrorInfo's domain is \"" + info.domain() + "\"");
}

static std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

static const std::string agent = environment("PARLEY_TOKEN");           // reads and records
static const std::string reader = environment("PARLEY_READ_TOKEN");     // the agent's tenant, reads only
static const std::string stranger = environment("PARLEY_OTHER_TOKEN");  // another tenant
static const milliseconds timeout = seconds(60);
static std::shared_ptr<grpc::Channel> channel;
static std::unique_ptr<api::InteractionService::Stub> client;

// A plausible interaction whose id and texts are its own.
static api::Interaction sample(const std::string& conversation, system_clock::time_point at) {
  const int64_t ms = std::chrono::duration_cast<milliseconds>(at.time_since_epoch()).count();
  api::Interaction made;
  made.set_id(parley::new_id(at));
  made.set_conversation_id(conversation);
  made.mutable_created_at()->set_seconds(ms / 1000);
  made.mutable_created_at()->set_nanos(static_cast<int32_t>(ms % 1000) * 1'000'000);
  made.set_customer_message("Où est ma valise ? 🧳 " + made.id());
  made.set_agent_response("It arrives at noon. " + made.id());
  auto* intent = made.add_detected_intents();
  intent->set_name("baggage_status");
  intent->set_confidence(0.9);
  made.set_model_used("gpt-4o");
  made.set_context_size(1580);
  made.set_processing_time_ms(1192);
  made.set_confidence_score(0.8125);
  made.set_message_type("text");
  made.mutable_token_usage()->set_prompt_tokens(1558);
  made.mutable_token_usage()->set_completion_tokens(23);
  made.mutable_token_usage()->set_total_tokens(1581);
  made.set_estimated_cost_nanos(4'125'000);
  return made;
}

// Of one conversation, oldest first.
static std::vector<api::Interaction> samples(int count) {
  const std::string conversation = "interop-cpp-" + parley::new_id();
  const auto start = system_clock::now() - seconds(count);
  std::vector<api::Interaction> made;
  for (int i = 0; i < count; ++i) made.push_back(sample(conversation, start + seconds(i)));
  return made;
}

static Status record(const api::Interaction& interaction, api::RecordInteractionResponse* answer,
                     const std::string& token = agent) {
  api::RecordInteractionRequest request;
  *request.mutable_interaction() = interaction;
  parley::Call call(token, timeout);
  return client->RecordInteraction(&call, request, answer);
}

static Status record_all(const std::vector<api::Interaction>& interactions, api::RecordInteractionsResponse* answer,
                         milliseconds within = timeout) {
  api::RecordInteractionsRequest request;
  for (const auto& interaction : interactions) *request.add_interactions() = interaction;
  parley::Call call(agent, within);
  return client->RecordInteractions(&call, request, answer);
}

// Records interactions that are all good.
static void record_new(const std::vector<api::Interaction>& interactions) {
  api::RecordInteractionsResponse answer;
  must(record_all(interactions, &answer));
  require(answer.results_size() == static_cast<int>(interactions.size()), "results are missing");
  for (int i = 0; i < answer.results_size(); ++i) {
    require(!answer.results(i).has_error(), answer.results(i).error().message());
    require(answer.results(i).interaction_id() == interactions[i].id(), "a result is of another interaction");
  }
}

static Status get(const std::string& id, const std::string& token, api::GetInteractionResponse* answer,
                  milliseconds within = timeout) {
  api::GetInteractionRequest request;
  request.set_id(id);
  parley::Call call(token, within);
  return client->GetInteraction(&call, request, answer);
}

static api::ListInteractionsResponse list(const api::ListInteractionsRequest& request) {
  api::ListInteractionsResponse answer;
  parley::Call call(reader, timeout);
  must(client->ListInteractions(&call, request, &answer));
  return answer;
}

static void record_answers_with_id() {
  const auto sent = samples(1)[0];
  api::RecordInteractionResponse first, again;
  must(record(sent, &first));
  require(first.interaction_id() == sent.id(), "recorded as " + first.interaction_id());
  require(MessageDifferencer::Equals(first.created_at(), sent.created_at()), "created at another time");
  require(!first.already_recorded(), "already recorded the first time");

  must(record(sent, &again));
  require(again.already_recorded() && again.interaction_id() == sent.id(), "the retry is not recognized");
}

static void record_refuses_other_content() {
  auto sent = samples(1)[0];
  api::RecordInteractionResponse answer;
  must(record(sent, &answer));
  sent.set_agent_response("Something else.");
  refused(record(sent, &answer), StatusCode::ALREADY_EXISTS);
}

static void batch_keeps_neighbours() {
  auto batch = samples(3);
  batch[1].set_confidence_score(1.5);
  api::RecordInteractionsResponse answer;
  must(record_all(batch, &answer));
  require(answer.results_size() == 3, "results are missing");
  for (int good : {0, 2}) {
    require(!answer.results(good).has_error(), answer.results(good).error().message());
    require(answer.results(good).interaction_id() == batch[good].id(), "a result is of another interaction");
  }
  const auto& bad = answer.results(1).error();
  require(bad.code() == StatusCode::INVALID_ARGUMENT, "the bad one: " + bad.message());
  require(bad.details_size() > 0, "the bad one has no details");
}

static void list_walks_pages() {
  const auto sent = samples(25);
  record_new(sent);
  api::ListInteractionsRequest request;
  request.mutable_filter()->set_conversation_id(sent[0].conversation_id());
  request.set_page_size(10);
  request.set_view(api::INTERACTION_VIEW_FULL);
  std::vector<int> pages;
  std::vector<api::Interaction> listed;
  do {
    const auto page = list(request);
    pages.push_back(page.interactions_size());
    listed.insert(listed.end(), page.interactions().begin(), page.interactions().end());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());

  require(pages == std::vector<int>{10, 10, 5}, "pages of another size");
  for (size_t i = 0; i < listed.size(); ++i) {
    const auto& want = sent[sent.size() - 1 - i];
    require(listed[i].id() == want.id(), "listed " + listed[i].id() + ", want " + want.id());
    require(listed[i].customer_message() == want.customer_message(), "listed with another text");
  }

  request.set_view(api::INTERACTION_VIEW_BASIC);
  const auto basic = list(request);
  for (const auto& interaction : basic.interactions()) {
    require(interaction.customer_message().empty() && interaction.agent_response().empty(), "BASIC shows texts");
  }
}

static void get_answers_what_was_sent() {
  const auto sent = samples(1)[0];
  api::RecordInteractionResponse recorded;
  must(record(sent, &recorded));
  api::GetInteractionResponse read;
  must(get(sent.id(), reader, &read));
  require(read.interaction().has_updated_at(), "no updated_at");
  read.mutable_interaction()->clear_updated_at();
  require(MessageDifferencer::Equals(read.interaction(), sent), "read " + read.interaction().ShortDebugString());
}

static void get_refuses_absent_id() {
  api::GetInteractionResponse read;
  refused(get(parley::new_id(), agent, &read), StatusCode::NOT_FOUND);
}

static void get_hides_other_tenants() {
  const auto sent = samples(1)[0];
  api::RecordInteractionResponse recorded;
  must(record(sent, &recorded));
  api::GetInteractionResponse read;
  refused(get(sent.id(), stranger, &read), StatusCode::NOT_FOUND);
}

static void stats_equal_recount() {
  auto turns = samples(20);
  const double count = turns.size();
  int64_t cost = 0, prompt = 0, completion = 0, handoffs = 0, high = 0;
  double confidence = 0, spent = 0;
  std::vector<double> times;
  std::vector<int64_t> histogram(10);
  std::map<std::string, int64_t> models, by_model;
  for (int i = 0; i < static_cast<int>(turns.size()); ++i) {
    auto& turn = turns[i];
    turn.set_model_used(i % 3 == 0 ? "gpt-4o-mini" : "gpt-4o");
    turn.set_confidence_score(i % 10 / 10.0 + 0.05);
    turn.set_processing_time_ms(i * 377 % 1000);
    turn.mutable_token_usage()->set_prompt_tokens(11 * i);
    turn.mutable_token_usage()->set_completion_tokens(i);
    turn.mutable_token_usage()->set_total_tokens(12 * i);
    turn.set_estimated_cost_nanos(i * int64_t{1'000'003});
    if (i % 5 == 0) {
      turn.set_handoff_triggered(true);
      turn.set_handoff_reason("billing");
      ++handoffs;
    }
    if (turn.confidence_score() >= 0.7) ++high;
    cost += turn.estimated_cost_nanos();
    prompt += 11 * i;
    completion += i;
    confidence += turn.confidence_score();
    spent += turn.processing_time_ms();
    times.push_back(turn.processing_time_ms());
    ++models[turn.model_used()];
    ++histogram[i % 10];
  }
  record_new(turns);
  std::sort(times.begin(), times.end());
  auto rank = [&](double share) { return times[static_cast<size_t>(std::ceil(share * count)) - 1]; };

  api::GetStatsRequest request;
  request.mutable_filter()->set_conversation_id(turns[0].conversation_id());
  request.set_interval(api::STATS_INTERVAL_DAY);
  api::GetStatsResponse got;
  parley::Call call(reader, timeout);
  must(client->GetStats(&call, request, &got));

  auto near = [](double a, double b) { return std::abs(a - b) < 1e-6; };
  const auto& totals = got.totals();
  const auto& counts = totals.confidence_histogram();
  const std::vector<std::pair<std::string, bool>> equal = {
      {"total_interactions", totals.total_interactions() == static_cast<int64_t>(turns.size())},
      {"total_cost_nanos", totals.total_cost_nanos() == cost},
      {"avg_confidence", near(totals.avg_confidence(), confidence / count)},
      {"handoff_count", totals.handoff_count() == handoffs},
      {"handoff_rate", near(totals.handoff_rate(), handoffs / count)},
      {"avg_processing_time_ms", near(totals.avg_processing_time_ms(), spent / count)},
      {"p50_processing_time_ms", totals.p50_processing_time_ms() == rank(0.5)},
      {"p95_processing_time_ms", totals.p95_processing_time_ms() == rank(0.95)},
      {"p99_processing_time_ms", totals.p99_processing_time_ms() == rank(0.99)},
      {"prompt_tokens", totals.prompt_tokens() == prompt},
      {"completion_tokens", totals.completion_tokens() == completion},
      {"total_tokens", totals.total_tokens() == prompt + completion},
      {"avg_tokens", near(totals.avg_tokens(), (prompt + completion) / count)},
      {"high_confidence_count", totals.high_confidence_count() == high},
      {"low_confidence_count", totals.low_confidence_count() == static_cast<int64_t>(turns.size()) - high},
      {"confidence_histogram", std::vector<int64_t>(counts.begin(), counts.end()) == histogram},
  };
  for (const auto& [name, same] : equal) require(same, name + " differs: " + totals.ShortDebugString());

  for (const auto& group : got.by_model()) by_model[group.key()] = group.stats().total_interactions();
  require(by_model == models, "by_model differs");
  require(got.by_handoff_reason_size() == 1 && got.by_handoff_reason(0).key() == "billing", "by_handoff_reason differs");
  int64_t in_series = 0;
  for (const auto& point : got.series()) in_series += point.stats().total_interactions();
  require(in_series == static_cast<int64_t>(turns.size()), "the series holds " + std::to_string(in_series));
}

static void refusal_carries_details() {
  auto bad = samples(1)[0];
  bad.set_confidence_score(1.5);
  api::RecordInteractionResponse answer;
  const auto status = record(bad, &answer);
  refused(status, StatusCode::INVALID_ARGUMENT);
  const auto broken = parley::detail<google::rpc::BadRequest>(status);
  require(broken.field_violations_size() == 1 && broken.field_violations(0).field() == "interaction.confidence_score",
          "BadRequest names " + broken.ShortDebugString());
}

static void no_token_is_refused() {
  api::GetInteractionResponse read;
  refused(get(parley::new_id(), "", &read), StatusCode::UNAUTHENTICATED);
}

static void missing_scope_is_named() {
  api::RecordInteractionResponse answer;
  const auto status = record(samples(1)[0], &answer, reader);
  refused(status, StatusCode::PERMISSION_DENIED);
  require(status.error_message().find("interactions:record") != std::string::npos, "the scope is not named");
}

static void unknown_method_is_unimplemented() {
  grpc::GenericStub stub(channel);
  grpc::CompletionQueue queue;
  grpc::Slice nothing("", 0);
  grpc::ByteBuffer request(&nothing, 1), answer;
  parley::Call call(agent, timeout);
  auto reply = stub.PrepareUnaryCall(&call, "/parley.v1.InteractionService/ForgetInteraction", request, &queue);
  Status status;
  reply->StartCall();
  reply->Finish(&answer, &status, nullptr);
  void* tag;
  bool ok;
  queue.Next(&tag, &ok);
  require(status.error_code() == StatusCode::UNIMPLEMENTED, described(status) + ", want UNIMPLEMENTED");
}

static void passed_deadline_is_exceeded() {
  api::GetInteractionResponse read;
  const auto status = get(parley::new_id(), agent, &read, seconds(-1));
  require(status.error_code() == StatusCode::DEADLINE_EXCEEDED, described(status) + ", want DEADLINE_EXCEEDED");
}

// A deadline no server keeps, met on the way: a retry finds what was done.
static void short_deadline_is_exceeded() {
  auto batch = samples(1000);
  for (auto& interaction : batch) interaction.set_customer_message(std::string(2000, 'x'));
  api::RecordInteractionsResponse answer;
  const auto status = record_all(batch, &answer, milliseconds(1));
  require(status.error_code() == StatusCode::DEADLINE_EXCEEDED, described(status) + ", want DEADLINE_EXCEEDED");

  // gRPC's C core now and then resets the stream without having opened it, if its deadline passes just
  // then; HTTP/2 has the server end the connection for that (RFC 9113, section 5.1), and the next call
  // may be caught in it. UNAVAILABLE is what one may try again.
  auto again = record_all(batch, &answer);
  if (again.error_code() == StatusCode::UNAVAILABLE) again = record_all(batch, &answer);
  must(again);
  for (const auto& result : answer.results()) require(!result.has_error(), result.error().message());
}

int main(int, char** arguments) {
  const std::string address = arguments[1];
  const std::string transport = address.rfind("unix:", 0) == 0 ? "unix" : "tcp";
  channel = parley::connect(address);
  client = api::InteractionService::NewStub(channel);

  const std::vector<std::pair<const char*, std::function<void()>>> checks = {
      {"recordAnswersWithId", record_answers_with_id},
      {"recordRefusesOtherContent", record_refuses_other_content},
      {"batchKeepsNeighbours", batch_keeps_neighbours},
      {"listWalksPages", list_walks_pages},
      {"getAnswersWhatWasSent", get_answers_what_was_sent},
      {"getRefusesAbsentId", get_refuses_absent_id},
      {"getHidesOtherTenants", get_hides_other_tenants},
      {"statsEqualRecount", stats_equal_recount},
      {"refusalCarriesDetails", refusal_carries_details},
      {"noTokenIsRefused", no_token_is_refused},
      {"missingScopeIsNamed", missing_scope_is_named},
      {"unknownMethodIsUnimplemented", unknown_method_is_unimplemented},
      {"passedDeadlineIsExceeded", passed_deadline_is_exceeded},
      {"shortDeadlineIsExceeded", short_deadline_is_exceeded},
  };
  int failed = 0;
  for (const auto& [name, check] : checks) {
    try {
      check();
      std::cout << "ok   cpp " << transport << " " << name << std::endl;
    } catch (const std::exception& failure) {
      ++failed;
      std::cout << "FAIL cpp " << transport << " " << name << ": " << failure.what() << std::endl;
    }
  }
  return failed > 0;
}
