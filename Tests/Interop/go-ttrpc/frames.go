package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/containerd/ttrpc"
	"github.com/gogo/protobuf/proto"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	api "parley/v1"
)

const (
	service         = "parley.v1.InteractionService"
	frameBytesMax   = 4 << 20
	requestFrame    = 1
	responseFrame   = 2
	responseTimeLimit = 20 * time.Second
)

func unknownMethodIsUnimplemented(s *session) {
	var answer api.GetInteractionResponse
	err := s.conn.Call(s.agent, service, "NoSuchMethod", &api.GetInteractionRequest{}, &answer)
	refused(err, codes.Unimplemented)
}

func unknownServiceIsUnimplemented(s *session) {
	var answer api.GetInteractionResponse
	err := s.conn.Call(s.agent, "parley.v1.NoSuchService", "GetInteraction", &api.GetInteractionRequest{}, &answer)
	refused(err, codes.Unimplemented)
}

// passedDeadlineIsExceeded writes the timeout past the client's back: left to itself the client gives
// up before the server's answer comes.
func passedDeadlineIsExceeded(s *session) {
	for _, timeout := range []time.Duration{-time.Second, -1, 1} {
		conn := connect(s.address, ttrpc.WithUnaryClientInterceptor(func(
			ctx context.Context, request *ttrpc.Request, response *ttrpc.Response, _ *ttrpc.UnaryClientInfo, next ttrpc.Invoker,
		) error {
			request.TimeoutNano = int64(timeout)
			return next(ctx, request, response)
		}))
		for method, err := range (&session{client: api.NewInteractionServiceClient(conn)}).everyMethod(s.agent) {
			require(err != nil, "%s answers in spite of a timeout of %v", method, timeout)
			refused(err, codes.DeadlineExceeded)
		}
		conn.Close()
	}
}

func abandonedCallHarmsNoOther(s *session) {
	recorded := sample(newConversation(), now())
	s.record(recorded)
	for i := 0; i < 20; i++ {
		hurried, cancel := context.WithTimeout(s.agent, time.Duration(i)*50*time.Microsecond)
		_, err := s.client.GetInteraction(hurried, &api.GetInteractionRequest{Id: recorded.Id})
		cancel()
		require(err == nil || errors.Is(err, context.DeadlineExceeded) || status.Code(err) == codes.DeadlineExceeded, "%v", err)
	}
	require(s.get(recorded.Id).CustomerMessage == recorded.CustomerMessage, "another call's answer")
}

func concurrentCallsGetTheirOwn(s *session) {
	const calls = 200
	outcomes := make(chan error, calls)
	for i := 0; i < calls; i++ {
		go func() {
			outcomes <- attempt(func() {
				interaction := sample(newConversation(), now())
				id := s.record(interaction).InteractionId
				require(id == interaction.Id, "recorded as %s, not %s", id, interaction.Id)
				requireSame(s.get(id), interaction)
			})
		}()
	}
	for i := 0; i < calls; i++ {
		err := <-outcomes
		require(err == nil, "%v", err)
	}
}

// requireAlive insists that the server still serves others.
func (s *session) requireAlive() {
	conn := connect(s.address)
	defer conn.Close()
	must(api.NewInteractionServiceClient(conn).ListInteractions(s.agent, &api.ListInteractionsRequest{PageSize: 1}))
}

// oversizedCallFailsCleanly lets the client send what is too long; newer ones refuse to.
func oversizedCallFailsCleanly(s *session) {
	batch := samples(45, newConversation())
	for _, interaction := range batch {
		interaction.CustomerMessage = strings.Repeat("c", 60<<10)
		interaction.AgentResponse = strings.Repeat("a", 60<<10)
	}
	_, err := s.client.RecordInteractions(s.agent, &api.RecordInteractionsRequest{Interactions: batch})
	require(err != nil, "a call of more than 4 MiB was taken")
	var network *net.OpError
	require(status.Code(err) == codes.ResourceExhausted || errors.Is(err, ttrpc.ErrClosed) || errors.As(err, &network) && !network.Timeout(),
		"neither RESOURCE_EXHAUSTED nor a closed connection: %v", err)
	s.requireAlive()
}

func oversizedFrameFailsCleanly(s *session) {
	conn := dial(s.address)
	defer conn.Close()
	go pour(conn, frameBytesMax+1, frameBytesMax+1)
	err := readRefusal(conn)
	require(err == nil || closed(err), "%v", err)
	s.requireAlive()
}

func lyingLengthCostsConnection(s *session) {
	conn := dial(s.address)
	defer conn.Close()
	go pour(conn, 1<<32-1, 64<<20)
	for {
		if err := readRefusal(conn); err != nil {
			require(closed(err), "64 MiB of a frame of 4 GiB were taken: %v", err)
			break
		}
	}
	s.requireAlive()
}

// pour sends the header of a request of stream 1 and then zeros, until they are sent or refused.
func pour(conn net.Conn, claimedBytes uint32, sentBytes int) {
	var header [10]byte
	binary.BigEndian.PutUint32(header[0:], claimedBytes)
	binary.BigEndian.PutUint32(header[4:], 1)
	header[8] = requestFrame
	conn.Write(header[:])

	zeros := make([]byte, 64<<10)
	for sentBytes > 0 {
		if len(zeros) > sentBytes {
			zeros = zeros[:sentBytes]
		}
		written, err := conn.Write(zeros)
		if err != nil {
			return
		}
		sentBytes -= written
	}
}

// readRefusal reads a frame that says RESOURCE_EXHAUSTED on stream 1.
func readRefusal(conn net.Conn) error {
	conn.SetReadDeadline(time.Now().Add(responseTimeLimit))
	var header [10]byte
	if _, err := io.ReadFull(conn, header[:]); err != nil {
		return err
	}
	length, stream, kind := binary.BigEndian.Uint32(header[0:]), binary.BigEndian.Uint32(header[4:]), header[8]
	if length > frameBytesMax || stream != 1 || kind != responseFrame {
		return fmt.Errorf("a frame of %d bytes and type %d on stream %d, want an answer on stream 1", length, kind, stream)
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(conn, body); err != nil {
		return err
	}
	var response ttrpc.Response
	if err := proto.Unmarshal(body, &response); err != nil {
		return err
	}
	if code := codes.Code(response.Status.GetCode()); code != codes.ResourceExhausted {
		return fmt.Errorf("%v (%s), want RESOURCE_EXHAUSTED", code, response.Status.GetMessage())
	}
	return nil
}

// closed tells a connection the server ended from one that is only silent.
func closed(err error) bool {
	var network *net.OpError
	return errors.Is(err, io.EOF) || errors.As(err, &network) && !errors.Is(err, os.ErrDeadlineExceeded)
}
