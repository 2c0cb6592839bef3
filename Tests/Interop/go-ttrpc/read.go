package main

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/gogo/protobuf/proto"
	"github.com/gogo/protobuf/types"
	"google.golang.org/grpc/codes"

	api "parley/v1"
)

// requireSame insists that what was read is what was sent, with what the server fills in.
func requireSame(got, sent *api.Interaction) {
	want := copied(sent)
	want.CreatedAt = timestamp(timeOf(sent.CreatedAt).Truncate(time.Millisecond))
	if want.MessageType == "" {
		want.MessageType = "text"
	}
	want.TokenUsage.TotalTokens = want.TokenUsage.PromptTokens + want.TokenUsage.CompletionTokens

	written := time.Since(timeOf(got.UpdatedAt))
	require(written > -time.Minute && written < time.Hour, "updated_at is %v ago", written)
	want.UpdatedAt = got.UpdatedAt
	if proto.Equal(got, want) {
		return
	}
	g, w := reflect.ValueOf(*got), reflect.ValueOf(*want)
	for i := 0; i < w.NumField(); i++ {
		read, expected := fmt.Sprint(g.Field(i).Interface()), fmt.Sprint(w.Field(i).Interface())
		name := w.Type().Field(i).Name
		require(read == expected || strings.HasPrefix(name, "XXX_"), "%s is %.200s, want %.200s", name, read, expected)
	}
	require(false, "read %.500v, want %.500v", got, want)
}

func getAnswersWhatWasSent(s *session) {
	sent := sample(newConversation(), now().Add(123_456*time.Nanosecond))
	sent.DetectedIntents = []*api.Intent{{Name: "refund", Confidence: 0.1234567890123}, {Name: "refund", Confidence: 0}}
	sent.ConfidenceScore = 0.7123456789
	sent.HandoffTriggered = true
	sent.HandoffReason = "Asked for a person, “now”."
	sent.EstimatedCostNanos = 9e15 - 1
	sent.UpdatedAt = &types.Timestamp{Seconds: 1} // the server's to set: ignored
	s.record(sent)
	requireSame(s.get(sent.Id), sent)

	bare := &api.Interaction{ConversationId: newConversation(), CreatedAt: timestamp(now())}
	bare.Id = s.record(bare).InteractionId
	read := s.get(bare.Id)
	require(read.MessageType == "text", "message_type is %q by default", read.MessageType)
	bare.TokenUsage, read.TokenUsage = &api.TokenUsage{}, &api.TokenUsage{} // an empty one may be absent
	requireSame(read, bare)
}

func getRefusesAbsentId(s *session) {
	_, err := s.client.GetInteraction(s.agent, &api.GetInteractionRequest{Id: uuid7(now())})
	refused(err, codes.NotFound)
}

func getHidesOtherTenants(s *session) {
	foreign := sample(newConversation(), now())
	s.record(foreign)
	absent := uuid7(now())

	answer := func(id string) []byte {
		_, err := s.client.GetInteraction(s.stranger, &api.GetInteractionRequest{Id: id})
		encoded := must(proto.Marshal(refused(err, codes.NotFound).status))
		return bytes.ReplaceAll(encoded, []byte(id), []byte("ID"))
	}
	require(bytes.Equal(answer(foreign.Id), answer(absent)), "another tenant's id is told from an absent one:\n%q\n%q", answer(foreign.Id), answer(absent))
}

func tenantsShareIdsUnseen(s *session) {
	ours := sample(newConversation(), now())
	s.record(ours)
	filter := within(ours.ConversationId)

	listed := must(s.client.ListInteractions(s.stranger, &api.ListInteractionsRequest{Filter: filter}))
	require(len(listed.Interactions) == 0 && listed.NextPageToken == "", "another tenant lists %v", listed)
	counted := must(s.client.GetStats(s.stranger, &api.GetStatsRequest{Filter: filter}))
	require(counted.Totals == nil || counted.Totals.TotalInteractions == 0, "another tenant counts %v", counted.Totals)
	require(len(counted.ByModel) == 0, "another tenant sees models %v", counted.ByModel)

	theirs := copied(ours)
	theirs.CustomerMessage = "The other tenant's."
	answer := must(s.client.RecordInteraction(s.stranger, &api.RecordInteractionRequest{Interaction: theirs}))
	require(!answer.AlreadyRecorded, "an id is taken across tenants")
	require(s.get(ours.Id).CustomerMessage == ours.CustomerMessage, "the other tenant's record is read")
}

func within(conversation string) *api.InteractionFilter {
	return &api.InteractionFilter{
		XConversationId: &api.InteractionFilter_ConversationId{ConversationId: conversation},
	}
}

const pageBytesMax = 3 << 20

// walk reads every page, and insists that it goes from new to old without repeating itself.
func (s *session) walk(request *api.ListInteractionsRequest) (pages []int, all []*api.Interaction) {
	seen := map[string]bool{}
	for {
		page := must(s.client.ListInteractions(s.agent, request))
		require(len(page.Interactions) > 0 || len(pages) == 0, "an empty page after %d others", len(pages))
		require(page.Size() <= pageBytesMax, "a page of %d bytes", page.Size())
		for _, interaction := range page.Interactions {
			require(!seen[interaction.Id], "%s is listed twice", interaction.Id)
			seen[interaction.Id] = true
			if len(all) > 0 {
				require(!timeOf(interaction.CreatedAt).After(timeOf(all[len(all)-1].CreatedAt)), "%s is newer than the one before it", interaction.Id)
			}
			all = append(all, interaction)
		}
		pages = append(pages, len(page.Interactions))
		if page.NextPageToken == "" {
			return pages, all
		}
		next := *request
		next.PageToken = page.NextPageToken
		request = &next
	}
}

func requireIds(got []*api.Interaction, want []*api.Interaction, what string) {
	ids := map[string]bool{}
	for _, interaction := range got {
		ids[interaction.Id] = true
	}
	require(len(got) == len(want), "%s: %d listed, want %d", what, len(got), len(want))
	for _, interaction := range want {
		require(ids[interaction.Id], "%s: %s is not listed", what, interaction.Id)
	}
}

func equalInts(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func listWalksNewestFirst(s *session) {
	conversation := newConversation()
	batch := samples(5, conversation)
	batch[3] = sample(conversation, timeOf(batch[2].CreatedAt)) // two in one millisecond, across a page's end
	s.recordNew(batch)

	pages, all := s.walk(&api.ListInteractionsRequest{Filter: within(conversation), PageSize: 2})
	require(equalInts(pages, []int{2, 2, 1}), "pages of %v, want 2, 2, 1", pages)
	requireIds(all, batch, "pages of 2")

	pages, _ = s.walk(&api.ListInteractionsRequest{Filter: within(conversation), PageSize: 5})
	require(equalInts(pages, []int{5}), "pages of %v, want one of 5", pages)
}

func listShowsTextsInFullViewOnly(s *session) {
	sent := sample(newConversation(), now())
	s.record(sent)
	for _, view := range []api.InteractionView{
		api.InteractionView_INTERACTION_VIEW_UNSPECIFIED, api.InteractionView_INTERACTION_VIEW_BASIC, api.InteractionView_INTERACTION_VIEW_FULL,
	} {
		_, all := s.walk(&api.ListInteractionsRequest{Filter: within(sent.ConversationId), View: view})
		require(len(all) == 1, "%v: %d listed, want 1", view, len(all))
		want := copied(sent)
		if view != api.InteractionView_INTERACTION_VIEW_FULL {
			want.CustomerMessage, want.AgentResponse = "", ""
		}
		requireSame(all[0], want)
	}
}

func listBindsItsTokens(s *session) {
	conversation := newConversation()
	s.recordNew(samples(5, conversation))
	request := api.ListInteractionsRequest{Filter: within(conversation), PageSize: 2}
	request.PageToken = must(s.client.ListInteractions(s.agent, &request)).NextPageToken
	require(request.PageToken != "", "no next_page_token after 2 of 5")

	_, err := s.client.ListInteractions(s.stranger, &request)
	refused(err, codes.InvalidArgument)

	foreign := request
	foreign.Filter = within(newConversation())
	_, err = s.client.ListInteractions(s.agent, &foreign)
	refused(err, codes.InvalidArgument)

	unfiltered := request
	unfiltered.Filter = nil
	_, err = s.client.ListInteractions(s.agent, &unfiltered)
	refused(err, codes.InvalidArgument)

	garbage := request
	garbage.PageToken = "garbage"
	_, err = s.client.ListInteractions(s.agent, &garbage)
	refused(err, codes.InvalidArgument)

	wider := request // the page's size is not part of what the token is bound to
	wider.PageSize = 3
	rest := must(s.client.ListInteractions(s.agent, &wider))
	require(len(rest.Interactions) == 3 && rest.NextPageToken == "", "%d listed after 2 of 5", len(rest.Interactions))
}

func listRefusesNegativePageSize(s *session) {
	_, err := s.client.ListInteractions(s.agent, &api.ListInteractionsRequest{PageSize: -1})
	require(refused(err, codes.InvalidArgument).names("page_size"), "BadRequest does not name page_size")
}

func listBoundsPagesByCount(s *session) {
	conversation := newConversation()
	batch := samples(450, conversation)
	s.recordNew(batch)

	byDefault := must(s.client.ListInteractions(s.agent, &api.ListInteractionsRequest{Filter: within(conversation)}))
	require(len(byDefault.Interactions) == 50, "a page of %d by default, want 50", len(byDefault.Interactions))

	pages, all := s.walk(&api.ListInteractionsRequest{Filter: within(conversation), PageSize: 1000})
	require(equalInts(pages, []int{200, 200, 50}), "pages of %v, want 200, 200, 50", pages)
	requireIds(all, batch, "pages of 200")
}

func listBoundsPagesByBytes(s *session) {
	conversation := newConversation()
	batch := samples(30, conversation)
	for _, interaction := range batch {
		interaction.CustomerMessage = strings.Repeat("c", 64<<10)
		interaction.AgentResponse = strings.Repeat("a", 64<<10)
	}
	s.recordNew(batch[:15]) // in halves: a call holds 4 MiB
	s.recordNew(batch[15:])

	_, all := s.walk(&api.ListInteractionsRequest{
		Filter: within(conversation), PageSize: 200, View: api.InteractionView_INTERACTION_VIEW_FULL,
	})
	requireIds(all, batch, "pages of 3 MiB")
}

func listFilters(s *session) {
	conversation, turns := s.recordTurns()
	for _, filtered := range filters(conversation, turns) {
		_, all := s.walk(&api.ListInteractionsRequest{Filter: filtered.filter, PageSize: 7})
		requireIds(all, selected(turns, filtered.selects), filtered.name)
	}
}
