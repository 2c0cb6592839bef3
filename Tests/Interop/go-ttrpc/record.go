package main

import (
	"math"
	"strings"
	"time"

	"github.com/gogo/protobuf/types"
	"google.golang.org/grpc/codes"

	api "parley/v1"
)

func recordAnswersWithId(s *session) {
	at := now()
	interaction := sample(newConversation(), at)
	for _, again := range []bool{false, true} {
		answer := s.record(interaction)
		require(answer.InteractionId == interaction.Id, "recorded as %s, not %s", answer.InteractionId, interaction.Id)
		require(timeOf(answer.CreatedAt).Equal(at), "created at %v, not %v", timeOf(answer.CreatedAt), at)
		require(answer.AlreadyRecorded == again, "already_recorded is %v, want %v", answer.AlreadyRecorded, again)
	}
}

func recordRefusesOtherContent(s *session) {
	first := sample(newConversation(), now())
	s.record(first)
	other := copied(first)
	other.AgentResponse = "Something else."
	_, err := s.tryRecord(other)
	refused(err, codes.AlreadyExists)
	require(s.get(first.Id).AgentResponse == first.AgentResponse, "the refused content replaced the first")
}

func recordKnowsSpelledOutDefaults(s *session) {
	terse := sample(newConversation(), now())
	terse.CreatedAt = nil
	s.record(terse)

	explicit := copied(terse)
	explicit.CreatedAt = timestamp(timeInId(terse.Id))
	explicit.MessageType = "text"
	explicit.TokenUsage.TotalTokens = terse.TokenUsage.PromptTokens + terse.TokenUsage.CompletionTokens
	require(s.record(explicit).AlreadyRecorded, "the same content with its defaults spelled out was not recognized")
}

func recordMakesAnId(s *session) {
	dated := sample(newConversation(), now().Add(-time.Hour))
	dated.Id = ""
	answer := s.record(dated)
	require(timeOf(answer.CreatedAt).Equal(timeOf(dated.CreatedAt)), "created at %v, not %v", answer.CreatedAt, dated.CreatedAt)
	require(timeInId(answer.InteractionId).Equal(timeOf(dated.CreatedAt)), "the id's time is %v", timeInId(answer.InteractionId))

	undated := copied(dated)
	undated.CreatedAt = nil
	answer = s.record(undated)
	require(!answer.AlreadyRecorded, "a new interaction was already recorded")
	require(timeInId(answer.InteractionId).Equal(timeOf(answer.CreatedAt)),
		"the id says %v, created_at %v", timeInId(answer.InteractionId), timeOf(answer.CreatedAt))
	age := time.Since(timeOf(answer.CreatedAt))
	require(age > -time.Minute && age < time.Minute, "created %v ago, not now", age)
	require(s.get(answer.InteractionId).CustomerMessage == undated.CustomerMessage, "read back with another text")
}

func requestIdFindsItself(s *session) {
	request := &api.RecordInteractionRequest{
		Interaction: sample(newConversation(), now()),
		RequestId:   "turn-" + uuid4(),
	}
	request.Interaction.Id = ""

	first := must(s.client.RecordInteraction(s.agent, request))
	require(!first.AlreadyRecorded, "already recorded the first time")
	require(timeInId(first.InteractionId).Equal(timeOf(request.Interaction.CreatedAt)), "the id's time is %v", timeInId(first.InteractionId))

	retry := must(s.client.RecordInteraction(s.agent, request))
	require(retry.InteractionId == first.InteractionId, "the retry became %s, not %s", retry.InteractionId, first.InteractionId)
	require(retry.AlreadyRecorded, "the retry was recorded again")

	request.Interaction.AgentResponse = "Something else."
	_, err := s.client.RecordInteraction(s.agent, request)
	refused(err, codes.AlreadyExists)
}

func requestIdRefusesBadUse(s *session) {
	for name, change := range map[string]func(*api.RecordInteractionRequest){
		"no created_at": func(r *api.RecordInteractionRequest) { r.Interaction.CreatedAt = nil },
		"with an id":    func(r *api.RecordInteractionRequest) { r.Interaction.Id = uuid7(timeOf(r.Interaction.CreatedAt)) },
		"129 bytes":     func(r *api.RecordInteractionRequest) { r.RequestId = strings.Repeat("x", 129) },
	} {
		request := &api.RecordInteractionRequest{Interaction: sample(newConversation(), now()), RequestId: uuid4()}
		request.Interaction.Id = ""
		change(request)
		_, err := s.client.RecordInteraction(s.agent, request)
		require(err != nil, "%s: taken", name)
		refused(err, codes.InvalidArgument)
	}
}

func recordTakesEveryLimit(s *session) {
	sent := atEveryLimit()
	s.record(sent)
	requireSame(s.get(sent.Id), sent)
}

func atEveryLimit() *api.Interaction {
	interaction := sample(strings.Repeat("c", 128-36)+uuid4(), now())
	interaction.CustomerMessage = strings.Repeat("é", 32<<10)
	interaction.AgentResponse = strings.Repeat("🛫", 16<<10)
	interaction.ModelUsed = strings.Repeat("m", 128)
	interaction.DetectedIntents = nil
	for i := 0; i < 64; i++ {
		interaction.DetectedIntents = append(interaction.DetectedIntents, &api.Intent{Name: strings.Repeat("i", 128), Confidence: 1})
	}
	interaction.ContextSize = math.MaxInt32
	interaction.ProcessingTimeMs = math.MaxInt32
	interaction.ConfidenceScore = 1
	interaction.HandoffTriggered = true
	interaction.HandoffReason = strings.Repeat("r", 256)
	interaction.MessageType = "a" + strings.Repeat("_", 18) + "9"
	interaction.TokenUsage = &api.TokenUsage{PromptTokens: math.MaxInt32, TotalTokens: math.MaxInt32}
	interaction.EstimatedCostNanos = 9e15
	return interaction
}

func recordRefusesBadFields(s *session) {
	type change func(*api.Interaction)
	for _, bad := range []struct {
		name, field string
		change      change
	}{
		{"id is no UUID", "interaction.id", func(i *api.Interaction) { i.Id = "42" }},
		{"id is a UUIDv4", "interaction.id", func(i *api.Interaction) { i.Id = uuid4() }},
		{"id and created_at disagree", "interaction.", func(i *api.Interaction) { i.Id = uuid7(timeOf(i.CreatedAt).Add(time.Millisecond)) }},
		{"id two days ahead", "interaction.", func(i *api.Interaction) { i.Id, i.CreatedAt = uuid7(now().Add(48*time.Hour)), nil }},
		{"created_at two days ahead", "interaction.created_at", func(i *api.Interaction) { i.Id, i.CreatedAt = "", timestamp(now().Add(48*time.Hour)) }},
		{"created_at before 1970", "interaction.created_at", func(i *api.Interaction) { i.Id, i.CreatedAt = "", &types.Timestamp{Seconds: -1} }},
		{"created_at with too many nanos", "interaction.created_at", func(i *api.Interaction) { i.Id, i.CreatedAt.Nanos = "", 1e9 }},
		{"no conversation_id", "interaction.conversation_id", func(i *api.Interaction) { i.ConversationId = "" }},
		{"long conversation_id", "interaction.conversation_id", func(i *api.Interaction) { i.ConversationId = strings.Repeat("x", 129) }},
		{"long customer_message", "interaction.customer_message", func(i *api.Interaction) { i.CustomerMessage = strings.Repeat("x", 64<<10+1) }},
		{"long agent_response", "interaction.agent_response", func(i *api.Interaction) { i.AgentResponse = strings.Repeat("x", 64<<10+1) }},
		{"NUL in a text", "interaction.customer_message", func(i *api.Interaction) { i.CustomerMessage = "a\x00b" }},
		{"text is not UTF-8", "interaction.agent_response", func(i *api.Interaction) { i.AgentResponse = "a\xffb" }},
		{"surrogate in a text", "interaction.agent_response", func(i *api.Interaction) { i.AgentResponse = "a\xed\xa0\x80b" }},
		{"65 intents", "interaction.detected_intents", func(i *api.Interaction) {
			i.DetectedIntents = nil
			for n := 0; n < 65; n++ {
				i.DetectedIntents = append(i.DetectedIntents, &api.Intent{Name: "x"})
			}
		}},
		{"nameless intent", "interaction.detected_intents[0].name", func(i *api.Interaction) { i.DetectedIntents[0].Name = "" }},
		{"long intent", "interaction.detected_intents[0].name", func(i *api.Interaction) { i.DetectedIntents[0].Name = strings.Repeat("x", 129) }},
		{"intent too confident", "interaction.detected_intents[0].confidence", func(i *api.Interaction) { i.DetectedIntents[0].Confidence = 1.01 }},
		{"long model_used", "interaction.model_used", func(i *api.Interaction) { i.ModelUsed = strings.Repeat("x", 129) }},
		{"negative context_size", "interaction.context_size", func(i *api.Interaction) { i.ContextSize = -1 }},
		{"negative processing_time_ms", "interaction.processing_time_ms", func(i *api.Interaction) { i.ProcessingTimeMs = -1 }},
		{"negative confidence_score", "interaction.confidence_score", func(i *api.Interaction) { i.ConfidenceScore = -0.01 }},
		{"confidence_score is no number", "interaction.confidence_score", func(i *api.Interaction) { i.ConfidenceScore = math.NaN() }},
		{"confidence_score is infinite", "interaction.confidence_score", func(i *api.Interaction) { i.ConfidenceScore = math.Inf(1) }},
		{"handoff_reason without handoff", "interaction.handoff_reason", func(i *api.Interaction) { i.HandoffReason = "angry" }},
		{"long handoff_reason", "interaction.handoff_reason", func(i *api.Interaction) {
			i.HandoffTriggered, i.HandoffReason = true, strings.Repeat("x", 257)
		}},
		{"message_type in capitals", "interaction.message_type", func(i *api.Interaction) { i.MessageType = "Text" }},
		{"long message_type", "interaction.message_type", func(i *api.Interaction) { i.MessageType = strings.Repeat("x", 21) }},
		{"negative prompt_tokens", "interaction.token_usage.prompt_tokens", func(i *api.Interaction) { i.TokenUsage.PromptTokens = -1 }},
		{"negative completion_tokens", "interaction.token_usage.completion_tokens", func(i *api.Interaction) { i.TokenUsage.CompletionTokens = -1 }},
		{"contradicting total_tokens", "interaction.token_usage.total_tokens", func(i *api.Interaction) { i.TokenUsage.TotalTokens = 7 }},
		{"total_tokens past int32", "interaction.token_usage", func(i *api.Interaction) { i.TokenUsage.PromptTokens = math.MaxInt32 }},
		{"negative cost", "interaction.estimated_cost_nanos", func(i *api.Interaction) { i.EstimatedCostNanos = -1 }},
		{"absurd cost", "interaction.estimated_cost_nanos", func(i *api.Interaction) { i.EstimatedCostNanos = 9e15 + 1 }},
	} {
		interaction := sample(newConversation(), now())
		bad.change(interaction)
		_, err := s.tryRecord(interaction)
		require(err != nil, "%s: taken", bad.name)
		refusal := refused(err, codes.InvalidArgument)
		require(refusal.names(bad.field), "%s: BadRequest names %q, not %s", bad.name, refusal.fields, bad.field)
	}

	_, err := s.tryRecord(nil)
	require(refused(err, codes.InvalidArgument).names("interaction"), "no interaction at all: BadRequest does not name it")
}

func refusalCarriesDetails(s *session) {
	interaction := sample(newConversation(), now())
	interaction.ConfidenceScore = 1.5
	_, err := s.tryRecord(interaction)
	refusal := refused(err, codes.InvalidArgument)
	require(len(refusal.fields) == 1 && refusal.fields[0] == "interaction.confidence_score",
		"BadRequest names %q", refusal.fields)
	require(strings.Contains(refusal.status.Message, "confidence_score"), "the message names no field: %q", refusal.status.Message)
}

func batchKeepsNeighbours(s *session) {
	batch := samples(3, newConversation())
	batch[1].ConfidenceScore = 1.5
	results := s.recordAll(batch)
	for _, good := range []int{0, 2} {
		require(results[good].Error == nil, "neighbour %d: %v", good, results[good].Error)
		require(results[good].InteractionId == batch[good].Id, "result %d is of another interaction", good)
		require(timeOf(results[good].CreatedAt).Equal(timeOf(batch[good].CreatedAt)), "result %d has another time", good)
		s.get(batch[good].Id)
	}
	bad := results[1].Error
	require(bad != nil, "the bad interaction was taken")
	require(codes.Code(bad.Code) == codes.InvalidArgument, "the bad interaction: %v, not INVALID_ARGUMENT", codes.Code(bad.Code))
	require(strings.Contains(bad.Message, "confidence_score"), "the bad interaction's message names no field: %q", bad.Message)
	_, err := s.client.GetInteraction(s.agent, &api.GetInteractionRequest{Id: batch[1].Id})
	refused(err, codes.NotFound)
}

func batchKnowsRepeats(s *session) {
	before, fresh := sample(newConversation(), now()), sample(newConversation(), now())
	s.record(before)
	changed := copied(fresh)
	changed.CustomerMessage = "Something else."

	results := s.recordAll([]*api.Interaction{before, fresh, fresh, changed})
	for i, again := range []bool{true, false, true} {
		require(results[i].Error == nil, "result %d: %v", i, results[i].Error)
		require(results[i].AlreadyRecorded == again, "result %d: already_recorded is %v", i, results[i].AlreadyRecorded)
	}
	require(results[3].Error != nil && codes.Code(results[3].Error.Code) == codes.AlreadyExists,
		"other content under an id of the same batch: %v", results[3])
}

func batchOfThousandIsTaken(s *session) {
	s.recordNew(samples(1000, newConversation()))
}

func batchOfMoreIsRefused(s *session) {
	batch := samples(1001, newConversation())
	_, err := s.client.RecordInteractions(s.agent, &api.RecordInteractionsRequest{Interactions: batch})
	refused(err, codes.InvalidArgument)
	_, err = s.client.GetInteraction(s.agent, &api.GetInteractionRequest{Id: batch[0].Id})
	refused(err, codes.NotFound)
}
