package main

import (
	"context"
	"fmt"
	"math"
	"sort"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"parley"
	api "parley/v1"
)

// sample is a plausible interaction whose id and texts are its own.
func sample(conversation string, at time.Time) *api.Interaction {
	id := parley.NewID(at)
	return &api.Interaction{
		Id:                 id,
		ConversationId:     conversation,
		CreatedAt:          timestamppb.New(at.Truncate(time.Millisecond)),
		CustomerMessage:    "Où est ma valise ? 🧳 " + id,
		AgentResponse:      "It arrives at noon. " + id,
		DetectedIntents:    []*api.Intent{{Name: "baggage_status", Confidence: 0.9}},
		ModelUsed:          "gpt-4o",
		ContextSize:        1580,
		ProcessingTimeMs:   1192,
		ConfidenceScore:    0.8125,
		MessageType:        "text",
		TokenUsage:         &api.TokenUsage{PromptTokens: 1558, CompletionTokens: 23, TotalTokens: 1581},
		EstimatedCostNanos: 4_125_000,
	}
}

// samples are of one conversation, oldest first.
func samples(count int) []*api.Interaction {
	conversation := "interop-go-" + parley.NewID(time.Now())
	start := time.Now().Add(-time.Duration(count) * time.Second)
	made := make([]*api.Interaction, count)
	for i := range made {
		made[i] = sample(conversation, start.Add(time.Duration(i)*time.Second))
	}
	return made
}

func (s *session) record(interaction *api.Interaction) (*api.RecordInteractionResponse, error) {
	return s.agent.RecordInteraction(s, &api.RecordInteractionRequest{Interaction: interaction})
}

func (s *session) recordAll(interactions []*api.Interaction) []*api.RecordResult {
	results := must(s.agent.RecordInteractions(s, &api.RecordInteractionsRequest{Interactions: interactions})).Results
	require(len(results) == len(interactions), "%d results for %d interactions", len(results), len(interactions))
	return results
}

// recordNew records interactions that are all good.
func (s *session) recordNew(interactions []*api.Interaction) {
	for i, result := range s.recordAll(interactions) {
		require(result.Error == nil, "interaction %d of the batch: %v", i, result.Error)
		require(result.InteractionId == interactions[i].Id, "result %d is of %s", i, result.InteractionId)
	}
}

func within(conversation string) *api.InteractionFilter {
	return &api.InteractionFilter{ConversationId: &conversation}
}

// refused insists that a call failed with this code and an ErrorInfo, and answers the fields that
// BadRequest names.
func refused(err error, want codes.Code) (fields []string) {
	refusal := status.Convert(err)
	require(refusal.Code() == want, "%v (%s), want %v", refusal.Code(), refusal.Message(), want)
	require(refusal.Message() != "", "%v without a message", want)
	domain := ""
	for _, detail := range refusal.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			domain = detail.Domain
		case *errdetails.BadRequest:
			for _, violation := range detail.FieldViolations {
				fields = append(fields, violation.Field)
			}
		}
	}
	require(domain == "parley", "ErrorInfo's domain is %q", domain)
	return fields
}

func recordAnswersWithId(s *session) {
	sent := samples(1)[0]
	first := must(s.record(sent))
	require(first.InteractionId == sent.Id, "recorded as %s, not %s", first.InteractionId, sent.Id)
	require(first.CreatedAt.AsTime().Equal(sent.CreatedAt.AsTime()), "created at %v", first.CreatedAt.AsTime())
	require(!first.AlreadyRecorded, "already recorded the first time")

	again := must(s.record(sent))
	require(again.AlreadyRecorded && again.InteractionId == sent.Id, "the retry answers %v", again)
}

func recordRefusesOtherContent(s *session) {
	sent := samples(1)[0]
	must(s.record(sent))
	other := proto.Clone(sent).(*api.Interaction)
	other.AgentResponse = "Something else."
	_, err := s.record(other)
	refused(err, codes.AlreadyExists)
}

func batchKeepsNeighbours(s *session) {
	batch := samples(3)
	batch[1].ConfidenceScore = 1.5
	results := s.recordAll(batch)
	for _, good := range []int{0, 2} {
		require(results[good].Error == nil, "neighbour %d: %v", good, results[good].Error)
		require(results[good].InteractionId == batch[good].Id, "result %d is of another interaction", good)
	}
	bad := results[1].Error
	require(bad != nil && codes.Code(bad.Code) == codes.InvalidArgument, "the bad one: %v", bad)
	require(len(bad.Details) > 0, "the bad one has no details")
}

func listWalksPages(s *session) {
	sent := samples(25)
	s.recordNew(sent)
	request := &api.ListInteractionsRequest{
		Filter:   within(sent[0].ConversationId),
		PageSize: 10,
		View:     api.InteractionView_INTERACTION_VIEW_FULL,
	}
	var pages []int
	var listed []*api.Interaction
	for {
		page := must(s.reader.ListInteractions(s, request))
		pages = append(pages, len(page.Interactions))
		listed = append(listed, page.Interactions...)
		if request.PageToken = page.NextPageToken; request.PageToken == "" {
			break
		}
	}
	require(fmt.Sprint(pages) == "[10 10 5]", "pages of %v", pages)
	for i, interaction := range listed {
		want := sent[len(sent)-1-i]
		require(interaction.Id == want.Id, "%d is %s, want %s", i, interaction.Id, want.Id)
		require(interaction.CustomerMessage == want.CustomerMessage, "%d reads %q", i, interaction.CustomerMessage)
	}

	request.View = api.InteractionView_INTERACTION_VIEW_BASIC
	for _, interaction := range must(s.reader.ListInteractions(s, request)).Interactions {
		require(interaction.CustomerMessage == "" && interaction.AgentResponse == "", "BASIC shows texts")
	}
}

func getAnswersWhatWasSent(s *session) {
	sent := samples(1)[0]
	must(s.record(sent))
	got := must(s.reader.GetInteraction(s, &api.GetInteractionRequest{Id: sent.Id})).Interaction
	require(got.UpdatedAt != nil, "no updated_at")
	got.UpdatedAt = nil
	require(proto.Equal(got, sent), "read %v, want %v", got, sent)
}

func getRefusesAbsentId(s *session) {
	_, err := s.agent.GetInteraction(s, &api.GetInteractionRequest{Id: parley.NewID(time.Now())})
	refused(err, codes.NotFound)
}

func getHidesOtherTenants(s *session) {
	sent := samples(1)[0]
	must(s.record(sent))
	_, err := s.stranger.GetInteraction(s, &api.GetInteractionRequest{Id: sent.Id})
	refused(err, codes.NotFound)
}

func statsEqualRecount(s *session) {
	turns := samples(20)
	var cost, prompt, completion, handoffs, high int64
	var confidence, spent float64
	times, models, histogram := []float64{}, map[string]int64{}, make([]int64, 10)
	for i, turn := range turns {
		n := int64(i)
		turn.ModelUsed = []string{"gpt-4o-mini", "gpt-4o", "gpt-4o"}[i%3]
		turn.ConfidenceScore = float64(i%10)/10 + 0.05
		turn.ProcessingTimeMs = int32(i * 377 % 1000)
		turn.TokenUsage = &api.TokenUsage{PromptTokens: int32(11 * i), CompletionTokens: int32(i)}
		turn.EstimatedCostNanos = n * 1_000_003
		if i%5 == 0 {
			turn.HandoffTriggered, turn.HandoffReason = true, "billing"
			handoffs++
		}
		if turn.ConfidenceScore >= 0.7 {
			high++
		}
		cost, prompt, completion = cost+n*1_000_003, prompt+11*n, completion+n
		confidence, spent = confidence+turn.ConfidenceScore, spent+float64(turn.ProcessingTimeMs)
		times = append(times, float64(turn.ProcessingTimeMs))
		models[turn.ModelUsed]++
		histogram[i%10]++
	}
	s.recordNew(turns)
	sort.Float64s(times)
	rank := func(share float64) float64 { return times[int(math.Ceil(share*float64(len(times))))-1] }
	count := float64(len(turns))

	got := must(s.reader.GetStats(s, &api.GetStatsRequest{
		Filter:   within(turns[0].ConversationId),
		Interval: api.StatsInterval_STATS_INTERVAL_DAY,
	}))
	near := func(a, b float64) bool { return math.Abs(a-b) < 1e-6 }
	for name, equal := range map[string]bool{
		"total_interactions":     got.Totals.TotalInteractions == int64(len(turns)),
		"total_cost_nanos":       got.Totals.TotalCostNanos == cost,
		"avg_confidence":         near(got.Totals.AvgConfidence, confidence/count),
		"handoff_count":          got.Totals.HandoffCount == handoffs,
		"handoff_rate":           near(got.Totals.HandoffRate, float64(handoffs)/count),
		"avg_processing_time_ms": near(got.Totals.AvgProcessingTimeMs, spent/count),
		"p50_processing_time_ms": got.Totals.P50ProcessingTimeMs == rank(0.5),
		"p95_processing_time_ms": got.Totals.P95ProcessingTimeMs == rank(0.95),
		"p99_processing_time_ms": got.Totals.P99ProcessingTimeMs == rank(0.99),
		"prompt_tokens":          got.Totals.PromptTokens == prompt,
		"completion_tokens":      got.Totals.CompletionTokens == completion,
		"total_tokens":           got.Totals.TotalTokens == prompt+completion,
		"avg_tokens":             near(got.Totals.AvgTokens, float64(prompt+completion)/count),
		"high_confidence_count":  got.Totals.HighConfidenceCount == high,
		"low_confidence_count":   got.Totals.LowConfidenceCount == int64(len(turns))-high,
		"confidence_histogram":   fmt.Sprint(got.Totals.ConfidenceHistogram) == fmt.Sprint(histogram),
	} {
		require(equal, "%s differs: %v", name, got.Totals)
	}
	byModel := map[string]int64{}
	for _, group := range got.ByModel {
		byModel[group.Key] = group.Stats.TotalInteractions
	}
	require(fmt.Sprint(byModel) == fmt.Sprint(models), "by_model is %v, want %v", byModel, models)
	require(len(got.ByHandoffReason) == 1 && got.ByHandoffReason[0].Key == "billing", "by_handoff_reason is %v", got.ByHandoffReason)
	inSeries := int64(0)
	for _, point := range got.Series {
		inSeries += point.Stats.TotalInteractions
	}
	require(inSeries == int64(len(turns)), "the series holds %d", inSeries)
}

func refusalCarriesDetails(s *session) {
	bad := samples(1)[0]
	bad.ConfidenceScore = 1.5
	_, err := s.record(bad)
	fields := refused(err, codes.InvalidArgument)
	require(len(fields) == 1 && fields[0] == "interaction.confidence_score", "BadRequest names %q", fields)
}

func noTokenIsRefused(s *session) {
	_, err := s.nobody.ListInteractions(s, &api.ListInteractionsRequest{})
	refused(err, codes.Unauthenticated)
}

func missingScopeIsNamed(s *session) {
	_, err := s.reader.RecordInteraction(s, &api.RecordInteractionRequest{Interaction: samples(1)[0]})
	refused(err, codes.PermissionDenied)
	require(strings.Contains(err.Error(), "interactions:record"), "the scope is not named: %v", err)
}

func unknownMethodIsUnimplemented(s *session) {
	err := s.conn.Invoke(s, "/parley.v1.InteractionService/ForgetInteraction", &api.GetInteractionRequest{}, &api.GetInteractionResponse{})
	require(status.Code(err) == codes.Unimplemented, "%v, want UNIMPLEMENTED", err)
}

func passedDeadlineIsExceeded(s *session) {
	passed, cancel := context.WithDeadline(s, time.Now().Add(-time.Second))
	defer cancel()
	_, err := s.agent.GetInteraction(passed, &api.GetInteractionRequest{Id: parley.NewID(time.Now())})
	require(status.Code(err) == codes.DeadlineExceeded, "%v, want DEADLINE_EXCEEDED", err)
}

// A deadline no server keeps, met on the way: the connection lives on, and a retry finds what was done.
func shortDeadlineIsExceeded(s *session) {
	batch := samples(1000)
	for _, interaction := range batch {
		interaction.CustomerMessage = strings.Repeat("x", 2000)
	}
	short, cancel := context.WithTimeout(s, time.Millisecond)
	defer cancel()
	_, err := s.agent.RecordInteractions(short, &api.RecordInteractionsRequest{Interactions: batch})
	require(status.Code(err) == codes.DeadlineExceeded, "%v, want DEADLINE_EXCEEDED", err)
	s.recordNew(batch)
}
