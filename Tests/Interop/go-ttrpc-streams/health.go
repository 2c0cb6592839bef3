package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	"grpc/health/v1"
	api "parley/v1"
)

const (
	healthService = "grpc.health.v1.Health"
	serving       = health.HealthCheckResponse_SERVING
)

// requireCalls insists that the connection serves unary calls: one that needs no token, and two that do.
func (s *session) requireCalls() {
	told := must(health.NewHealthClient(s.conn).Check(s, &health.HealthCheckRequest{})).Status
	require(told == serving, "health is %v", told)

	agent := ttrpc.WithMetadata(s, ttrpc.MD{"authorization": {"Bearer " + os.Getenv("PARLEY_TOKEN")}})
	client := api.NewInteractionServiceClient(s.conn)
	sent := &api.Interaction{
		ConversationId:  "interop-streams",
		CreatedAt:       timestamppb.Now(),
		CustomerMessage: fmt.Sprintf("Where is my bag? %d", time.Now().UnixNano()),
		AgentResponse:   "Let me look, one moment.",
		ModelUsed:       "gpt-4o",
	}
	id := must(client.RecordInteraction(agent, &api.RecordInteractionRequest{Interaction: sent})).InteractionId
	kept := must(client.GetInteraction(agent, &api.GetInteractionRequest{Id: id})).Interaction
	require(kept.GetCustomerMessage() == sent.CustomerMessage, "%s has the text %q", id, kept.GetCustomerMessage())
}

// watch begins a watch, and insists that the first status it tells is this one.
func (s *session) watch(ctx context.Context, service string, want health.HealthCheckResponse_ServingStatus) health.Health_WatchClient {
	watch := must(health.NewHealthClient(s.conn).Watch(ctx, &health.HealthCheckRequest{Service: service}))
	told := must(watch.Recv()).Status
	require(told == want, "%q is %v, want %v", service, told, want)
	return watch
}

func watchTellsStatus(s *session) {
	s.watch(s, "", serving)
	s.watch(s, "parley.v1.InteractionService", serving)
	s.watch(s, "liveness", serving)
	s.watch(s, "parley.v1.NoSuchService", health.HealthCheckResponse_SERVICE_UNKNOWN)
	s.requireCalls()
}

func watchesShareAConnection(s *session) {
	const watches = 100
	outcomes := make(chan error, watches)
	for i := 0; i < watches; i++ {
		go func() {
			outcomes <- attempt(func() {
				s.watch(s, "", serving)
				s.requireCalls()
			})
		}()
	}
	for i := 0; i < watches; i++ {
		succeed(<-outcomes)
	}
}

func watchIsOpenUntilItsConnectionCloses(s *session) {
	watch := s.watch(s, "", serving)
	s.requireCalls()
	s.conn.Close()
	_, err := watch.Recv()
	require(errors.Is(err, ttrpc.ErrClosed), "the watch ends with %v, want %v", err, ttrpc.ErrClosed)
}

func cancelledWatchLeavesItsConnection(s *session) {
	hurried, cancel := context.WithCancel(s)
	other := s.watch(s, "", serving)
	watch := s.watch(hurried, "", serving)
	ended := make(chan error)
	go func() {
		_, err := watch.Recv()
		ended <- err
	}()
	cancel()
	err := <-ended
	require(errors.Is(err, context.Canceled), "the watch ends with %v, want %v", err, context.Canceled)

	s.requireCalls()
	s.watch(s, "", serving)
	s.conn.Close()
	_, err = other.Recv()
	require(errors.Is(err, ttrpc.ErrClosed), "the watch beside it has ended before, with %v", err)
}

func watchTakesItsRequestFromAnOpenStream(s *session) {
	stream := must(s.conn.NewStream(s, &ttrpc.StreamDesc{StreamingClient: true, StreamingServer: true}, healthService, "Watch", nil))
	succeed(stream.SendMsg(&health.HealthCheckRequest{Service: "liveness"}))
	succeed(stream.CloseSend())
	var told health.HealthCheckResponse
	succeed(stream.RecvMsg(&told))
	require(told.Status == serving, "health is %v", told.Status)
	s.requireCalls()
}

func watchRefusesOtherCountsOfRequests(s *session) {
	for _, count := range []int{0, 2} {
		stream := must(s.conn.NewStream(s, &ttrpc.StreamDesc{StreamingClient: true, StreamingServer: true}, healthService, "Watch", nil))
		for i := 0; i < count; i++ {
			succeed(stream.SendMsg(&health.HealthCheckRequest{}))
		}
		succeed(stream.CloseSend())
		refused(stream.RecvMsg(&health.HealthCheckResponse{}), codes.Unimplemented, "MESSAGE_COUNT_WRONG")
	}
	s.requireCalls()
}
