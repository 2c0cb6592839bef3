// Command grpc records an interaction over gRPC, reads it back, asks for statistics, and shows what an
// error says.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"parley"
	api "parley/v1"
)

func main() {
	conn, err := parley.Dial(os.Getenv("PARLEY_ADDRESS"), os.Getenv("PARLEY_TOKEN"))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	client := api.NewInteractionServiceClient(conn)

	// Every call gets a deadline; the server stops its work when it passes.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	interaction := &api.Interaction{
		Id:               parley.NewID(time.Now()),
		ConversationId:   "example-go",
		CustomerMessage:  "Where is my bag?",
		AgentResponse:    "It arrives at noon.",
		DetectedIntents:  []*api.Intent{{Name: "baggage_status", Confidence: 0.9}},
		ModelUsed:        "gpt-4o",
		ProcessingTimeMs: 1192,
		ConfidenceScore:  0.81,
		TokenUsage:       &api.TokenUsage{PromptTokens: 1558, CompletionTokens: 23},
	}
	recorded, err := client.RecordInteraction(ctx, &api.RecordInteractionRequest{Interaction: interaction})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("recorded", recorded.InteractionId)

	read, err := client.GetInteraction(ctx, &api.GetInteractionRequest{Id: recorded.InteractionId})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("read", read.Interaction.AgentResponse)

	filter := &api.InteractionFilter{ConversationId: &interaction.ConversationId}
	list := &api.ListInteractionsRequest{Filter: filter, PageSize: 10}
	for pages := 0; pages < 3; pages++ {
		page, err := client.ListInteractions(ctx, list)
		if err != nil {
			log.Fatal(err)
		}
		for _, listed := range page.Interactions {
			fmt.Println("listed", listed.Id, listed.CreatedAt.AsTime())
		}
		if list.PageToken = page.NextPageToken; list.PageToken == "" {
			break
		}
	}

	stats, err := client.GetStats(ctx, &api.GetStatsRequest{Filter: filter})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("stats", stats.Totals.TotalInteractions, "interactions,", stats.Totals.TotalTokens, "tokens")

	interaction.ConfidenceScore = 1.5
	_, err = client.RecordInteraction(ctx, &api.RecordInteractionRequest{Interaction: interaction})
	if status.Code(err) != codes.InvalidArgument {
		log.Fatalf("a confidence of 1.5 is not refused: %v", err)
	}
	for _, detail := range status.Convert(err).Details() {
		switch detail := detail.(type) {
		case *errdetails.BadRequest:
			for _, violation := range detail.FieldViolations {
				fmt.Println("refused", violation.Field, violation.Description)
			}
		case *errdetails.ErrorInfo:
			fmt.Println("refused by", detail.Domain, detail.Reason)
		}
	}
}
