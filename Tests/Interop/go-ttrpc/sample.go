package main

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/gogo/protobuf/proto"
	"github.com/gogo/protobuf/types"

	api "parley/v1"
)

// now is the present as the server keeps it, to the millisecond.
func now() time.Time {
	return time.Now().UTC().Truncate(time.Millisecond)
}

func uuidFrom(b []byte, version byte) string {
	b[6] = b[6]&0x0f | version<<4
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b)
	return fmt.Sprintf("%s-%s-%s-%s-%s", h[:8], h[8:12], h[12:16], h[16:20], h[20:])
}

func randomBytes(count int) []byte {
	b := make([]byte, count)
	must(rand.Read(b))
	return b
}

func uuid4() string { return uuidFrom(randomBytes(16), 4) }

func uuid7(at time.Time) string {
	b := randomBytes(16)
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(at.UnixMilli()))
	copy(b[:6], ms[2:])
	return uuidFrom(b, 7)
}

// timeInId reads the time of a UUIDv7, and insists that it is one.
func timeInId(id string) time.Time {
	require(len(id) == 36 && id[8] == '-' && id[13] == '-' && id[18] == '-' && id[23] == '-', "%q is no UUID", id)
	b, err := hex.DecodeString(id[:8] + id[9:13] + id[14:18] + id[19:23] + id[24:])
	require(err == nil, "%q is no UUID", id)
	require(b[6]>>4 == 7 && b[8]>>6 == 2, "%q is no UUIDv7", id)
	return time.UnixMilli(int64(binary.BigEndian.Uint64(append([]byte{0, 0}, b[:6]...)))).UTC()
}

func timestamp(at time.Time) *types.Timestamp {
	return must(types.TimestampProto(at))
}

func timeOf(stamp *types.Timestamp) time.Time {
	require(stamp != nil, "a timestamp is absent")
	return must(types.TimestampFromProto(stamp))
}

func newConversation() string { return "interop-" + uuid4() }

// sample is a plausible interaction whose id and texts are its own.
func sample(conversation string, at time.Time) *api.Interaction {
	id := uuid7(at)
	return &api.Interaction{
		Id:                 id,
		ConversationId:     conversation,
		CreatedAt:          timestamp(at),
		CustomerMessage:    "Where is my bag? " + id,
		AgentResponse:      "Let me look, one moment. " + id,
		DetectedIntents:    []*api.Intent{{Name: "baggage_status", Confidence: 0.9}},
		ModelUsed:          "gpt-4o",
		ContextSize:        1580,
		ProcessingTimeMs:   1192,
		ConfidenceScore:    0.8125,
		TokenUsage:         &api.TokenUsage{PromptTokens: 1558, CompletionTokens: 23},
		EstimatedCostNanos: 4_125_000,
	}
}

func samples(count int, conversation string) []*api.Interaction {
	start := now().Add(-time.Duration(count) * time.Second)
	made := make([]*api.Interaction, count)
	for i := range made {
		made[i] = sample(conversation, start.Add(time.Duration(i)*time.Second))
	}
	return made
}

func copied(interaction *api.Interaction) *api.Interaction {
	return proto.Clone(interaction).(*api.Interaction)
}

func (s *session) record(interaction *api.Interaction) *api.RecordInteractionResponse {
	return must(s.tryRecord(interaction))
}

func (s *session) tryRecord(interaction *api.Interaction) (*api.RecordInteractionResponse, error) {
	return s.client.RecordInteraction(s.agent, &api.RecordInteractionRequest{Interaction: interaction})
}

func (s *session) recordAll(interactions []*api.Interaction) []*api.RecordResult {
	results := must(s.client.RecordInteractions(s.agent, &api.RecordInteractionsRequest{Interactions: interactions})).Results
	require(len(results) == len(interactions), "%d results for %d interactions", len(results), len(interactions))
	return results
}

// recordNew records interactions that are all good and new.
func (s *session) recordNew(interactions []*api.Interaction) {
	for i, result := range s.recordAll(interactions) {
		require(result.Error == nil, "interaction %d of the batch: %v", i, result.Error)
		require(!result.AlreadyRecorded, "interaction %d of the batch: already recorded", i)
		require(result.InteractionId == interactions[i].Id, "result %d is of %s, not %s", i, result.InteractionId, interactions[i].Id)
	}
}

func (s *session) get(id string) *api.Interaction {
	answer := must(s.client.GetInteraction(s.agent, &api.GetInteractionRequest{Id: id}))
	require(answer.Interaction != nil, "an answer without an interaction")
	return answer.Interaction
}
