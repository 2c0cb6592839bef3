package main

import (
	"fmt"
	"math"
	"reflect"
	"sort"
	"time"

	"google.golang.org/grpc/codes"

	api "parley/v1"
)

// recordTurns records a conversation with something for every filter and every edge of a count.
func (s *session) recordTurns() (conversation string, turns []*api.Interaction) {
	confidences := []float64{0, 0.1, 0.25, 0.3, 0.5, 0.6999, 0.7, 0.85, 0.9, 1}
	conversation = newConversation()
	end := now().Add(-time.Second)
	for i := 0; i < 40; i++ {
		turn := sample(conversation, end.Add(-time.Duration(i)*17*time.Minute))
		turn.ModelUsed = []string{"gpt-4o", "gpt-4o", "gpt-4o-mini", "gpt-4o", "", "gpt-4o-mini", "gpt-4o"}[i%7]
		turn.MessageType = []string{"", "voice", "text", "email", "", "voice"}[i%6]
		turn.ConfidenceScore = confidences[(i*3)%len(confidences)]
		turn.ProcessingTimeMs = int32(i * 377 % 1000)
		turn.TokenUsage = &api.TokenUsage{PromptTokens: int32(i * 1001), CompletionTokens: int32(i * 13 % 17)}
		turn.EstimatedCostNanos = int64(i*i*1_000_003 + 1)
		if i == 20 {
			turn.EstimatedCostNanos = 9e15 // more than a double holds exactly, once summed
		}
		if i%4 == 0 {
			turn.HandoffTriggered = true
			turn.HandoffReason = []string{"billing", "", "billing", "anger", "billing", "anger"}[i/4%6]
		}
		turn.DetectedIntents = nil
		if i%3 == 0 { // named twice, counted once
			turn.DetectedIntents = []*api.Intent{{Name: "refund", Confidence: 0.5}, {Name: "refund", Confidence: 0.75}}
		}
		turns = append(turns, turn)
	}
	s.recordNew(turns)
	return conversation, turns
}

type filtered struct {
	name    string
	filter  *api.InteractionFilter
	selects func(*api.Interaction) bool
}

// filters selects among recordTurns' turns by each field, and by several together.
func filters(conversation string, turns []*api.Interaction) []filtered {
	made := func(name string, selects func(*api.Interaction) bool, narrow func(*api.InteractionFilter)) filtered {
		filter := within(conversation)
		narrow(filter)
		return filtered{name, filter, selects}
	}
	// A turn stands exactly on each edge: the start is inside, the end outside.
	start, end := timeOf(turns[25].CreatedAt), timeOf(turns[5].CreatedAt)
	return []filtered{
		made("conversation", func(*api.Interaction) bool { return true },
			func(f *api.InteractionFilter) {}),
		made("model_used", func(i *api.Interaction) bool { return i.ModelUsed == "gpt-4o-mini" },
			func(f *api.InteractionFilter) {
				f.XModelUsed = &api.InteractionFilter_ModelUsed{ModelUsed: "gpt-4o-mini"}
			}),
		made("message_type", func(i *api.Interaction) bool { return messageType(i) == "text" },
			func(f *api.InteractionFilter) {
				f.XMessageType = &api.InteractionFilter_MessageType{MessageType: "text"}
			}),
		made("handoff_triggered", func(i *api.Interaction) bool { return i.HandoffTriggered },
			func(f *api.InteractionFilter) {
				f.XHandoffTriggered = &api.InteractionFilter_HandoffTriggered{HandoffTriggered: true}
			}),
		made("handoff_triggered = false", func(i *api.Interaction) bool { return !i.HandoffTriggered },
			func(f *api.InteractionFilter) {
				f.XHandoffTriggered = &api.InteractionFilter_HandoffTriggered{HandoffTriggered: false}
			}),
		made("handoff_reason", func(i *api.Interaction) bool { return i.HandoffReason == "anger" },
			func(f *api.InteractionFilter) {
				f.XHandoffReason = &api.InteractionFilter_HandoffReason{HandoffReason: "anger"}
			}),
		made("min_confidence", func(i *api.Interaction) bool { return i.ConfidenceScore >= 0.7 },
			func(f *api.InteractionFilter) {
				f.XMinConfidence = &api.InteractionFilter_MinConfidence{MinConfidence: 0.7}
			}),
		made("max_confidence", func(i *api.Interaction) bool { return i.ConfidenceScore <= 0.7 },
			func(f *api.InteractionFilter) {
				f.XMaxConfidence = &api.InteractionFilter_MaxConfidence{MaxConfidence: 0.7}
			}),
		made("max_confidence = 0", func(i *api.Interaction) bool { return i.ConfidenceScore == 0 },
			func(f *api.InteractionFilter) {
				f.XMaxConfidence = &api.InteractionFilter_MaxConfidence{MaxConfidence: 0}
			}),
		made("intent", func(i *api.Interaction) bool { return len(i.DetectedIntents) > 0 },
			func(f *api.InteractionFilter) {
				f.XIntent = &api.InteractionFilter_Intent{Intent: "refund"}
			}),
		made("times", func(i *api.Interaction) bool {
			return !timeOf(i.CreatedAt).Before(start) && timeOf(i.CreatedAt).Before(end)
		}, func(f *api.InteractionFilter) {
			f.XStartTime = &api.InteractionFilter_StartTime{StartTime: timestamp(start)}
			f.XEndTime = &api.InteractionFilter_EndTime{EndTime: timestamp(end)}
		}),
		made("several together", func(i *api.Interaction) bool {
			return i.ModelUsed == "gpt-4o" && !i.HandoffTriggered && i.ConfidenceScore >= 0.3 && timeOf(i.CreatedAt).Before(end)
		}, func(f *api.InteractionFilter) {
			f.XModelUsed = &api.InteractionFilter_ModelUsed{ModelUsed: "gpt-4o"}
			f.XHandoffTriggered = &api.InteractionFilter_HandoffTriggered{HandoffTriggered: false}
			f.XMinConfidence = &api.InteractionFilter_MinConfidence{MinConfidence: 0.3}
			f.XEndTime = &api.InteractionFilter_EndTime{EndTime: timestamp(end)}
		}),
	}
}

func selected(turns []*api.Interaction, selects func(*api.Interaction) bool) (chosen []*api.Interaction) {
	for _, turn := range turns {
		if selects(turn) {
			chosen = append(chosen, turn)
		}
	}
	return chosen
}

func messageType(interaction *api.Interaction) string {
	if interaction.MessageType == "" {
		return "text"
	}
	return interaction.MessageType
}

func statsEqualRecount(s *session) {
	conversation, turns := s.recordTurns()
	for _, filtered := range filters(conversation, turns) {
		chosen := selected(turns, filtered.selects)
		for _, interval := range []api.StatsInterval{
			api.StatsInterval_STATS_INTERVAL_UNSPECIFIED, api.StatsInterval_STATS_INTERVAL_HOUR, api.StatsInterval_STATS_INTERVAL_DAY,
		} {
			what := fmt.Sprintf("%s, %v", filtered.name, interval)
			got := must(s.client.GetStats(s.agent, &api.GetStatsRequest{Filter: filtered.filter, Interval: interval}))

			requireStats(what+": totals", got.Totals, recount(chosen))
			requireGroups(what+": by_model", got.ByModel, chosen, func(i *api.Interaction) string { return i.ModelUsed })
			requireGroups(what+": by_message_type", got.ByMessageType, chosen, messageType)
			handed := selected(chosen, func(i *api.Interaction) bool { return i.HandoffTriggered })
			requireGroups(what+": by_handoff_reason", got.ByHandoffReason, handed, func(i *api.Interaction) string { return i.HandoffReason })
			requireSeries(what+": series", got.Series, chosen, interval)
			requireRange(what, got, filtered.filter)
		}
	}
}

func requireRange(what string, got *api.GetStatsResponse, filter *api.InteractionFilter) {
	if start, ok := filter.XStartTime.(*api.InteractionFilter_StartTime); ok {
		require(timeOf(got.StartTime).Equal(timeOf(start.StartTime)), "%s: start_time is %v", what, got.StartTime)
	}
	if end, ok := filter.XEndTime.(*api.InteractionFilter_EndTime); ok {
		require(timeOf(got.EndTime).Equal(timeOf(end.EndTime)), "%s: end_time is %v", what, got.EndTime)
	}
}

func statsRangeByDefault(s *session) {
	const month = 30 * 24 * time.Hour
	spans := func(filter *api.InteractionFilter) (start, end time.Time) {
		got := must(s.client.GetStats(s.agent, &api.GetStatsRequest{Filter: filter}))
		start, end = timeOf(got.StartTime), timeOf(got.EndTime)
		require(end.Sub(start) == month, "the range is %v, want 30 days", end.Sub(start))
		return start, end
	}
	conversation := newConversation()
	_, end := spans(within(conversation))
	away := time.Since(end)
	require(away > -time.Minute && away < time.Minute, "the last 30 days end %v ago", away)

	edge := now().Add(-100 * 24 * time.Hour)
	from := within(conversation)
	from.XStartTime = &api.InteractionFilter_StartTime{StartTime: timestamp(edge)}
	start, _ := spans(from)
	require(start.Equal(edge), "starts %v, want %v", start, edge)

	until := within(conversation)
	until.XEndTime = &api.InteractionFilter_EndTime{EndTime: timestamp(edge)}
	_, end = spans(until)
	require(end.Equal(edge), "ends %v, want %v", end, edge)

	backwards := within(conversation)
	backwards.XStartTime = &api.InteractionFilter_StartTime{StartTime: timestamp(edge)}
	backwards.XEndTime = &api.InteractionFilter_EndTime{EndTime: timestamp(edge.Add(-time.Hour))}
	_, err := s.client.GetStats(s.agent, &api.GetStatsRequest{Filter: backwards})
	refused(err, codes.InvalidArgument)
}

func recount(interactions []*api.Interaction) *api.Stats {
	count := int64(len(interactions))
	stats := &api.Stats{TotalInteractions: count, ConfidenceHistogram: make([]int64, 10)}
	var confidenceMicros, processingMs int64
	var times []int64
	for _, i := range interactions {
		micros := int64(math.Round(i.ConfidenceScore * 1e6))
		confidenceMicros += micros
		bin := micros / 100_000
		if bin == 10 {
			bin = 9 // the last one holds 1.0 too
		}
		stats.ConfidenceHistogram[bin]++
		if i.ConfidenceScore >= 0.7 {
			stats.HighConfidenceCount++
		} else {
			stats.LowConfidenceCount++
		}
		if i.HandoffTriggered {
			stats.HandoffCount++
		}
		times = append(times, int64(i.ProcessingTimeMs))
		processingMs += int64(i.ProcessingTimeMs)
		stats.TotalCostNanos += i.EstimatedCostNanos
		stats.PromptTokens += int64(i.TokenUsage.PromptTokens)
		stats.CompletionTokens += int64(i.TokenUsage.CompletionTokens)
	}
	stats.TotalTokens = stats.PromptTokens + stats.CompletionTokens
	if count == 0 {
		return stats
	}
	stats.AvgConfidence = float64(confidenceMicros) / float64(count) / 1e6
	stats.HandoffRate = float64(stats.HandoffCount) / float64(count)
	stats.AvgProcessingTimeMs = float64(processingMs) / float64(count)
	stats.AvgTokens = float64(stats.TotalTokens) / float64(count)

	sort.Slice(times, func(a, b int) bool { return times[a] < times[b] })
	nearestRank := func(percent int64) float64 { return float64(times[(count*percent+99)/100-1]) }
	stats.P50ProcessingTimeMs = nearestRank(50)
	stats.P95ProcessingTimeMs = nearestRank(95)
	stats.P99ProcessingTimeMs = nearestRank(99)
	return stats
}

// requireStats compares field by field: counts and sums exactly, quotients to the last few bits.
func requireStats(what string, got, want *api.Stats) {
	require(got != nil, "%s: absent", what)
	g, w := reflect.ValueOf(*got), reflect.ValueOf(*want)
	for i := 0; i < w.NumField(); i++ {
		name := w.Type().Field(i).Name
		switch value := w.Field(i).Interface().(type) {
		case int64, []int64:
			require(reflect.DeepEqual(g.Field(i).Interface(), value), "%s: %s is %v, want %v", what, name, g.Field(i), value)
		case float64:
			off := math.Abs(g.Field(i).Float() - value)
			require(off <= 1e-9*math.Abs(value), "%s: %s is %v, want %v", what, name, g.Field(i), value)
		}
	}
}

func requireGroups(what string, got []*api.StatsGroup, of []*api.Interaction, key func(*api.Interaction) string) {
	want := map[string][]*api.Interaction{}
	for _, interaction := range of {
		want[key(interaction)] = append(want[key(interaction)], interaction)
	}
	require(len(got) == len(want), "%s: %d groups, want %d", what, len(got), len(want))
	for i, group := range got {
		requireStats(fmt.Sprintf("%s %q", what, group.Key), group.Stats, recount(want[group.Key]))
		require(!group.IsRemainder, "%s %q: is_remainder", what, group.Key)
		require(i == 0 || group.Stats.TotalInteractions <= got[i-1].Stats.TotalInteractions, "%s %q: larger than the group before it", what, group.Key)
	}
}

func requireSeries(what string, got []*api.StatsPoint, of []*api.Interaction, interval api.StatsInterval) {
	width := map[api.StatsInterval]time.Duration{
		api.StatsInterval_STATS_INTERVAL_HOUR: time.Hour,
		api.StatsInterval_STATS_INTERVAL_DAY:  24 * time.Hour,
	}[interval]
	want := map[time.Time][]*api.Interaction{}
	if width > 0 {
		for _, interaction := range of {
			start := timeOf(interaction.CreatedAt).Truncate(width)
			want[start] = append(want[start], interaction)
		}
	}
	require(len(got) == len(want), "%s: %d points, want %d", what, len(got), len(want))
	for i, point := range got {
		start := timeOf(point.StartTime)
		require(i == 0 || start.After(timeOf(got[i-1].StartTime)), "%s: %v is not after the point before it", what, start)
		require(len(want[start]) > 0, "%s: a point at %v", what, start)
		requireStats(fmt.Sprintf("%s %v", what, start), point.Stats, recount(want[start]))
	}
}
