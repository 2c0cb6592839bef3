package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"grpc/reflection/v1"
)

const (
	reflectionService = "grpc.reflection.v1.ServerReflection"
	frameBytesMax     = 4 << 20
)

type (
	question     = reflection.ServerReflectionRequest
	answer       = reflection.ServerReflectionResponse
	conversation = reflection.ServerReflection_ServerReflectionInfoClient
)

func listServices() *question {
	return &question{MessageRequest: &reflection.ServerReflectionRequest_ListServices{ListServices: "*"}}
}

func fileNamed(name string) *question {
	return &question{MessageRequest: &reflection.ServerReflectionRequest_FileByFilename{FileByFilename: name}}
}

func fileDeclaring(symbol string) *question {
	return &question{MessageRequest: &reflection.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: symbol}}
}

func (s *session) reflect() conversation {
	return must(reflection.NewServerReflectionClient(s.conn).ServerReflectionInfo(s))
}

func send(stream ttrpc.ClientStream, message proto.Message) {
	succeed(stream.SendMsg(message))
}

// ask sends a question, and reads its answer.
func ask(stream conversation, asked *question) *answer {
	send(stream, asked)
	return receive(stream, asked)
}

// receive reads the answer to a question.
func receive(stream conversation, asked *question) *answer {
	told := must(stream.Recv())
	require(proto.Equal(told.OriginalRequest, asked), "an answer to %.200v, not to %.200v", told.OriginalRequest, asked)
	return told
}

// requireFile insists that an answer is one file, of this name.
func requireFile(told *answer, name string) {
	files := told.GetFileDescriptorResponse().GetFileDescriptorProto()
	require(len(files) == 1, "%d files, not %s alone: %.200v", len(files), name, told)
	var file descriptorpb.FileDescriptorProto
	succeed(proto.Unmarshal(files[0], &file))
	require(file.GetName() == name, "the file is %s, want %s", file.GetName(), name)
}

// finish ends the requests, and insists that the responses end then.
func finish(stream conversation) {
	succeed(stream.CloseSend())
	_, err := stream.Recv()
	requireEnd(err)
}

func eachQuestionIsAnswered(s *session) {
	stream := s.reflect()
	var services []string
	for _, service := range ask(stream, listServices()).GetListServicesResponse().GetService() {
		services = append(services, service.Name)
	}
	for _, service := range []string{healthService, reflectionService, "parley.v1.InteractionService"} {
		require(strings.Contains(strings.Join(services, " "), service), "%s is not among %v", service, services)
	}
	requireFile(ask(stream, fileDeclaring("parley.v1.Interaction")), "parley/v1/interactions.proto")
	s.requireCalls()
	requireFile(ask(stream, fileNamed("grpc/health/v1/health.proto")), "grpc/health/v1/health.proto")
	for _, absent := range []*question{fileDeclaring("parley.v1.Nothing"), fileNamed("nothing.proto")} {
		code := codes.Code(ask(stream, absent).GetErrorResponse().GetErrorCode())
		require(code == codes.NotFound, "%v is %v, want NOT_FOUND", absent, code)
	}
	requireFile(ask(stream, fileDeclaring("grpc.health.v1.Health.Watch")), "grpc/health/v1/health.proto")
	finish(stream)

	_, err := stream.Recv()
	requireEnd(err)
	err = stream.Send(listServices())
	require(errors.Is(err, ttrpc.ErrStreamClosed), "a question after the last fails with %v", err)
	s.requireCalls()
}

func streamWithoutQuestionsEnds(s *session) {
	finish(s.reflect())
	s.requireCalls()
}

func oneQuestionMayComeWithTheRequest(s *session) {
	for _, service := range []string{reflectionService, "grpc.reflection.v1alpha.ServerReflection"} {
		stream := must(s.conn.NewStream(s, &manyResponses, service, "ServerReflectionInfo", fileDeclaring("parley.v1.Stats")))
		var told answer
		succeed(stream.RecvMsg(&told))
		requireFile(&told, "parley/v1/interactions.proto")
		requireEnd(stream.RecvMsg(&told))
	}
}

func badQuestionEndsItsStreamAlone(s *session) {
	other, stream := s.reflect(), s.reflect()
	requireFile(ask(other, fileDeclaring("parley.v1.Stats")), "parley/v1/interactions.proto")
	send(stream, &question{})
	_, err := stream.Recv()
	refused(err, codes.InvalidArgument, "FIELD_INVALID")
	requireFile(ask(other, fileDeclaring("parley.v1.Stats")), "parley/v1/interactions.proto")
	finish(other)
	s.requireCalls()
}

// converse sends many questions without waiting for their answers, and reads the answers meanwhile. Each question has a text of
// this length, which its answer repeats twice.
func (s *session) converse(count, textBytes int) {
	asked := func(i int) *question {
		q := fileDeclaring("parley.v1.Interaction")
		q.Host = fmt.Sprintf("%d %s", i, strings.Repeat("h", textBytes))
		return q
	}
	stream := s.reflect()
	sent := make(chan error, 1)
	go func() {
		sent <- attempt(func() {
			for i := 0; i < count; i++ {
				send(stream, asked(i))
			}
			succeed(stream.CloseSend())
		})
	}()
	for i := 0; i < count; i++ {
		requireFile(receive(stream, asked(i)), "parley/v1/interactions.proto")
	}
	succeed(<-sent)
	_, err := stream.Recv()
	requireEnd(err)
}

func questionsAreAnsweredInTheirOrder(s *session) {
	s.converse(500, 0)
	s.requireCalls()
}

func streamsAndCallsShareAConnection(s *session) {
	const pairs = 16
	outcomes := make(chan error, 2*pairs)
	for i := 0; i < pairs; i++ {
		go func() { outcomes <- attempt(func() { s.converse(40, 100) }) }()
		go func() { outcomes <- attempt(s.requireCalls) }()
	}
	for i := 0; i < 2*pairs; i++ {
		succeed(<-outcomes)
	}
}

// largeMessagesPass sends and receives more than the sockets and the server keep, so that each side waits for the other.
func largeMessagesPass(s *session) {
	s.converse(24, 1<<20)
	s.requireCalls()
}

// questionOf makes a question that is so long when it is encoded.
func questionOf(bytes int) *question {
	q := fileNamed(strings.Repeat("n", bytes-5))
	require(proto.Size(q) == bytes, "the question has %d bytes, not %d", proto.Size(q), bytes)
	return q
}

func tooLargeQuestionIsRefused(s *session) {
	for _, bytes := range []int{frameBytesMax + 1, 2 * frameBytesMax} {
		stream := s.reflect()
		requireFile(ask(stream, fileDeclaring("parley.v1.Stats")), "parley/v1/interactions.proto")
		send(stream, questionOf(bytes))
		_, err := stream.Recv()
		refused(err, codes.ResourceExhausted, "MESSAGE_TOO_LARGE")
		s.requireCalls()
	}
}

// tooLargeAnswerIsRefused asks a question of the greatest length. The server takes it; its answer, which repeats it, is too long.
func tooLargeAnswerIsRefused(s *session) {
	stream := s.reflect()
	send(stream, questionOf(frameBytesMax))
	_, err := stream.Recv()
	refused(err, codes.ResourceExhausted, "MESSAGE_TOO_LARGE")
	s.requireCalls()
}
