// Command streams opens streams at a Parley server with containerd's own Go ttRPC client, of a version that has them. It
// makes its own conversations, so it can run again and again on the same database.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/containerd/ttrpc"
	"github.com/golang/protobuf/proto"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const checkTimeout = 20 * time.Second

type check struct {
	name string
	run  func(*session)
}

// checks are for a server without reflection.
var checks = []check{
	{"watchTellsStatus", watchTellsStatus},
	{"watchesShareAConnection", watchesShareAConnection},
	{"watchIsOpenUntilItsConnectionCloses", watchIsOpenUntilItsConnectionCloses},
	{"cancelledWatchLeavesItsConnection", cancelledWatchLeavesItsConnection},
	{"watchTakesItsRequestFromAnOpenStream", watchTakesItsRequestFromAnOpenStream},
	{"watchRefusesOtherCountsOfRequests", watchRefusesOtherCountsOfRequests},

	{"unknownStreamIsUnimplemented", unknownStreamIsUnimplemented},
	{"reflectionIsOffUnlessAskedFor", reflectionIsOffUnlessAskedFor},
	{"unaryMethodRefusesAnOpenStream", unaryMethodRefusesAnOpenStream},
	{"unaryMethodAnswersAStreamOfOneRequest", unaryMethodAnswersAStreamOfOneRequest},
	{"streamingMethodRefusesAUnaryCall", streamingMethodRefusesAUnaryCall},
	{"streamWithoutTokenIsRefused", streamWithoutTokenIsRefused},
}

// reflectionChecks are for a server with reflection.
var reflectionChecks = []check{
	{"eachQuestionIsAnswered", eachQuestionIsAnswered},
	{"streamWithoutQuestionsEnds", streamWithoutQuestionsEnds},
	{"oneQuestionMayComeWithTheRequest", oneQuestionMayComeWithTheRequest},
	{"badQuestionEndsItsStreamAlone", badQuestionEndsItsStreamAlone},
	{"questionsAreAnsweredInTheirOrder", questionsAreAnsweredInTheirOrder},
	{"streamsAndCallsShareAConnection", streamsAndCallsShareAConnection},
	{"largeMessagesPass", largeMessagesPass},
	{"tooLargeQuestionIsRefused", tooLargeQuestionIsRefused},
	{"tooLargeAnswerIsRefused", tooLargeAnswerIsRefused},
	{"reflectionRefusesAUnaryCall", reflectionRefusesAUnaryCall},
}

// session is what one check works with: a connection of its own, so that one check's damage is not the next one's.
type session struct {
	context.Context
	conn *ttrpc.Client
}

func main() {
	addresses, reflecting := os.Args[1:], os.Getenv("PARLEY_REFLECTION_ADDRESS")
	if len(addresses) == 0 || reflecting == "" || os.Getenv("PARLEY_TOKEN") == "" {
		fmt.Fprint(os.Stderr, `usage: run ADDRESS...   (unix:PATH or HOST:PORT)
environment:
  PARLEY_TOKEN               scopes analytics:view interactions:record
  PARLEY_REFLECTION_ADDRESS  HOST:PORT of a server that was started with --reflection
`)
		os.Exit(2)
	}

	passed, failed := 0, 0
	run := func(address string, checks []check) {
		for _, check := range checks {
			if err := perform(check, address); err != nil {
				failed++
				fmt.Printf("FAIL %s %s: %v\n", transport(address), check.name, err)
			} else {
				passed++
				fmt.Printf("ok   %s %s\n", transport(address), check.name)
			}
		}
	}
	for _, address := range addresses {
		run(address, checks)
	}
	run(reflecting, reflectionChecks)
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 {
		os.Exit(1)
	}
}

// perform runs a check. It closes the connection of a check that takes too long, which ends every wait of the client.
func perform(check check, address string) error {
	return attempt(func() {
		ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
		defer cancel()
		target := strings.TrimPrefix(address, "unix:")
		s := &session{ctx, ttrpc.NewClient(must(net.DialTimeout(transport(address), target, 5*time.Second)))}
		defer s.conn.Close()
		slow := time.AfterFunc(checkTimeout, func() { s.conn.Close() })
		defer slow.Stop()
		check.run(s)
	})
}

func transport(address string) string {
	if strings.HasPrefix(address, "unix:") {
		return "unix"
	}
	return "tcp"
}

// refused insists that a call failed with this code, and with this reason in its details.
func refused(err error, code codes.Code, reason string) {
	require(err != nil, "succeeded, not %v", code)
	s, isStatus := status.FromError(err)
	require(isStatus, "no status but %q, want %v", err, code)
	require(s.Code() == code, "%v (%s), want %v", s.Code(), s.Message(), code)
	require(s.Message() != "", "%v without a message", code)
	for _, detail := range s.Proto().Details {
		if detail.TypeUrl != "type.googleapis.com/google.rpc.ErrorInfo" {
			continue
		}
		var info errdetails.ErrorInfo
		succeed(proto.Unmarshal(detail.Value, &info))
		require(info.Reason == reason, "%v for the reason %s (%s), want %s", code, info.Reason, s.Message(), reason)
		return
	}
	require(false, "%v (%s) without an ErrorInfo", code, s.Message())
}

// failure ends a check, the way testing.T.Fatal ends a test.
type failure struct{ err error }

func attempt(run func()) (err error) {
	defer func() {
		switch thrown := recover().(type) {
		case nil:
		case failure:
			err = thrown.err
		default:
			err = fmt.Errorf("panic: %v", thrown)
		}
	}()
	run()
	return nil
}

func require(ok bool, format string, args ...interface{}) {
	if !ok {
		panic(failure{fmt.Errorf(format, args...)})
	}
}

func succeed(err error) {
	require(err == nil, "%v", err)
}

func must[T any](value T, err error) T {
	succeed(err)
	return value
}
