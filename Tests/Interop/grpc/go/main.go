// Command interop drives a Parley server with gRPC-Go. It makes its own conversations, so it can run
// again and again on the same database.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"

	"parley"
	api "parley/v1"
)

const checkTimeout = 60 * time.Second

var checks = []struct {
	name string
	run  func(*session)
}{
	{"recordAnswersWithId", recordAnswersWithId},
	{"recordRefusesOtherContent", recordRefusesOtherContent},
	{"batchKeepsNeighbours", batchKeepsNeighbours},
	{"listWalksPages", listWalksPages},
	{"getAnswersWhatWasSent", getAnswersWhatWasSent},
	{"getRefusesAbsentId", getRefusesAbsentId},
	{"getHidesOtherTenants", getHidesOtherTenants},
	{"statsEqualRecount", statsEqualRecount},
	{"refusalCarriesDetails", refusalCarriesDetails},
	{"noTokenIsRefused", noTokenIsRefused},
	{"missingScopeIsNamed", missingScopeIsNamed},
	{"unknownMethodIsUnimplemented", unknownMethodIsUnimplemented},
	{"passedDeadlineIsExceeded", passedDeadlineIsExceeded},
	{"shortDeadlineIsExceeded", shortDeadlineIsExceeded},
}

// session is what one check works with: the callers, each with a connection of its own.
type session struct {
	context.Context
	conn *grpc.ClientConn // the agent's

	agent    api.InteractionServiceClient // reads and records
	reader   api.InteractionServiceClient // the agent's tenant, reads only
	stranger api.InteractionServiceClient // another tenant, reads and records
	nobody   api.InteractionServiceClient // no token
}

func main() {
	address := os.Args[1]
	agent := must(parley.Dial(address, os.Getenv("PARLEY_TOKEN")))
	client := func(token string) api.InteractionServiceClient {
		return api.NewInteractionServiceClient(must(parley.Dial(address, token)))
	}
	s := session{
		conn:     agent,
		agent:    api.NewInteractionServiceClient(agent),
		reader:   client(os.Getenv("PARLEY_READ_TOKEN")),
		stranger: client(os.Getenv("PARLEY_OTHER_TOKEN")),
		nobody:   client(""),
	}
	transport := "tcp"
	if strings.HasPrefix(address, "unix:") {
		transport = "unix"
	}

	failed := 0
	for _, check := range checks {
		err := attempt(func() {
			ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
			defer cancel()
			s := s
			s.Context = ctx
			check.run(&s)
		})
		if err != nil {
			failed++
			fmt.Printf("FAIL go %s %s: %v\n", transport, check.name, err)
		} else {
			fmt.Printf("ok   go %s %s\n", transport, check.name)
		}
	}
	if failed > 0 {
		os.Exit(1)
	}
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

func must[T any](value T, err error) T {
	require(err == nil, "%v", err)
	return value
}
