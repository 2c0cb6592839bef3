package main

import (
	"io"

	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/codes"

	"grpc/health/v1"
	"grpc/reflection/v1"
	api "parley/v1"
)

// How many messages a stream of the client has each way.
var (
	oneEachWay    = ttrpc.StreamDesc{}
	manyResponses = ttrpc.StreamDesc{StreamingServer: true}
	manyRequests  = ttrpc.StreamDesc{StreamingClient: true}
	manyEachWay   = ttrpc.StreamDesc{StreamingClient: true, StreamingServer: true}
)

// open begins a stream and sends one message without fields: in the request, or behind it if more messages may follow.
func (s *session) open(desc ttrpc.StreamDesc, service, method string) ttrpc.ClientStream {
	request := &health.HealthCheckRequest{}
	if !desc.StreamingClient {
		return must(s.conn.NewStream(s, &desc, service, method, request))
	}
	stream := must(s.conn.NewStream(s, &desc, service, method, nil))
	send(stream, request)
	return stream
}

func unknownStreamIsUnimplemented(s *session) {
	for _, desc := range []ttrpc.StreamDesc{oneEachWay, manyResponses, manyRequests, manyEachWay} {
		for _, name := range [][2]string{{healthService, "NoSuchMethod"}, {"parley.v1.NoSuchService", "Watch"}} {
			stream := s.open(desc, name[0], name[1])
			refused(stream.RecvMsg(&health.HealthCheckResponse{}), codes.Unimplemented, "METHOD_UNKNOWN")
		}
	}
	s.requireCalls()
}

func reflectionIsOffUnlessAskedFor(s *session) {
	stream := s.reflect()
	send(stream, listServices())
	_, err := stream.Recv()
	refused(err, codes.Unimplemented, "METHOD_UNKNOWN")
	s.requireCalls()
}

func unaryMethodRefusesAnOpenStream(s *session) {
	for _, desc := range []ttrpc.StreamDesc{manyRequests, manyEachWay} {
		stream := s.open(desc, healthService, "Check")
		refused(stream.RecvMsg(&health.HealthCheckResponse{}), codes.Unimplemented, "STREAMING_UNSUPPORTED")
	}
	s.requireCalls()
}

func unaryMethodAnswersAStreamOfOneRequest(s *session) {
	for _, desc := range []ttrpc.StreamDesc{oneEachWay, manyResponses} {
		stream := s.open(desc, healthService, "Check")
		var told health.HealthCheckResponse
		succeed(stream.RecvMsg(&told))
		require(told.Status == serving, "health is %v", told.Status)
		requireEnd(stream.RecvMsg(&told))
	}
	s.requireCalls()
}

func streamingMethodRefusesAUnaryCall(s *session) {
	err := s.conn.Call(s, healthService, "Watch", &health.HealthCheckRequest{}, &health.HealthCheckResponse{})
	refused(err, codes.Unimplemented, "STREAMING_UNSUPPORTED")
	s.requireCalls()
}

func reflectionRefusesAUnaryCall(s *session) {
	err := s.conn.Call(s, reflectionService, "ServerReflectionInfo", listServices(), &reflection.ServerReflectionResponse{})
	refused(err, codes.Unimplemented, "STREAMING_UNSUPPORTED")
	s.requireCalls()
}

// The client sends metadata with unary calls alone.
func streamWithoutTokenIsRefused(s *session) {
	stream := must(s.conn.NewStream(
		s, &oneEachWay, "parley.v1.InteractionService", "ListInteractions", &api.ListInteractionsRequest{}))
	refused(stream.RecvMsg(&api.ListInteractionsResponse{}), codes.Unauthenticated, "TOKEN_MISSING")
	s.requireCalls()
}

func requireEnd(err error) {
	require(err == io.EOF, "%v, where the stream should end", err)
}
