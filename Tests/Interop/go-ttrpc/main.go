// Command interop drives a Parley server with containerd's own Go ttRPC client: every method, claims
// in metadata, errors and their details read back. It makes its own conversations, so it can run again
// and again on the same database.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/containerd/ttrpc"

	api "parley/v1"
)

const checkTimeout = 60 * time.Second

var checks = []struct {
	name string
	run  func(*session)
}{
	{"recordAnswersWithId", recordAnswersWithId},
	{"recordRefusesOtherContent", recordRefusesOtherContent},
	{"recordKnowsSpelledOutDefaults", recordKnowsSpelledOutDefaults},
	{"recordMakesAnId", recordMakesAnId},
	{"requestIdFindsItself", requestIdFindsItself},
	{"requestIdRefusesBadUse", requestIdRefusesBadUse},
	{"recordTakesEveryLimit", recordTakesEveryLimit},
	{"recordRefusesBadFields", recordRefusesBadFields},
	{"refusalCarriesDetails", refusalCarriesDetails},
	{"batchKeepsNeighbours", batchKeepsNeighbours},
	{"batchKnowsRepeats", batchKnowsRepeats},
	{"batchOfThousandIsTaken", batchOfThousandIsTaken},
	{"batchOfMoreIsRefused", batchOfMoreIsRefused},

	{"getAnswersWhatWasSent", getAnswersWhatWasSent},
	{"getRefusesAbsentId", getRefusesAbsentId},
	{"getHidesOtherTenants", getHidesOtherTenants},
	{"tenantsShareIdsUnseen", tenantsShareIdsUnseen},
	{"listWalksNewestFirst", listWalksNewestFirst},
	{"listShowsTextsInFullViewOnly", listShowsTextsInFullViewOnly},
	{"listBindsItsTokens", listBindsItsTokens},
	{"listRefusesNegativePageSize", listRefusesNegativePageSize},
	{"listBoundsPagesByCount", listBoundsPagesByCount},
	{"listBoundsPagesByBytes", listBoundsPagesByBytes},
	{"listFilters", listFilters},
	{"statsEqualRecount", statsEqualRecount},
	{"statsRangeByDefault", statsRangeByDefault},

	{"noTokenIsRefused", noTokenIsRefused},
	{"badTokensAreRefused", badTokensAreRefused},
	{"missingScopeIsNamed", missingScopeIsNamed},
	{"metadataKeysAnyCase", metadataKeysAnyCase},
	{"tenantHeaderMustAgree", tenantHeaderMustAgree},

	{"unknownMethodIsUnimplemented", unknownMethodIsUnimplemented},
	{"unknownServiceIsUnimplemented", unknownServiceIsUnimplemented},
	{"passedDeadlineIsExceeded", passedDeadlineIsExceeded},
	{"abandonedCallHarmsNoOther", abandonedCallHarmsNoOther},
	{"concurrentCallsGetTheirOwn", concurrentCallsGetTheirOwn},
	{"oversizedCallFailsCleanly", oversizedCallFailsCleanly},
	{"oversizedFrameFailsCleanly", oversizedFrameFailsCleanly},
	{"lyingLengthCostsConnection", lyingLengthCostsConnection},
}

// session is what one check works with: a connection of its own, so that one check's damage is not
// the next one's, and the callers.
type session struct {
	address string
	conn    *ttrpc.Client
	client  api.InteractionServiceService

	agent    context.Context // reads and records
	reader   context.Context // the agent's tenant, reads only
	stranger context.Context // another tenant, reads and records
	nobody   context.Context // no claims
}

func main() {
	addresses := os.Args[1:]
	agent, reader, stranger := os.Getenv("PARLEY_TOKEN"), os.Getenv("PARLEY_READ_TOKEN"), os.Getenv("PARLEY_OTHER_TOKEN")
	if len(addresses) == 0 || agent == "" || reader == "" || stranger == "" {
		fmt.Fprint(os.Stderr, `usage: run ADDRESS...   (unix:PATH or HOST:PORT)
environment:
  PARLEY_TOKEN        tenant A, scopes analytics:view interactions:record
  PARLEY_READ_TOKEN   tenant A, scope analytics:view alone
  PARLEY_OTHER_TOKEN  tenant B, scopes analytics:view interactions:record
`)
		os.Exit(2)
	}

	passed, failed := 0, 0
	for _, address := range addresses {
		for _, check := range checks {
			err := attempt(func() {
				ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
				defer cancel()
				s := &session{
					address:  address,
					conn:     connect(address),
					agent:    withToken(ctx, agent),
					reader:   withToken(ctx, reader),
					stranger: withToken(ctx, stranger),
					nobody:   ctx,
				}
				defer s.conn.Close()
				s.client = api.NewInteractionServiceClient(s.conn)
				check.run(s)
			})
			if err != nil {
				failed++
				fmt.Printf("FAIL %s %s: %v\n", transport(address), check.name, err)
			} else {
				passed++
				fmt.Printf("ok   %s %s\n", transport(address), check.name)
			}
		}
	}
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 {
		os.Exit(1)
	}
}

func transport(address string) string {
	if strings.HasPrefix(address, "unix:") {
		return "unix"
	}
	return "tcp"
}

func dial(address string) net.Conn {
	target := strings.TrimPrefix(address, "unix:")
	return must(net.DialTimeout(transport(address), target, 5*time.Second))
}

func connect(address string, options ...ttrpc.ClientOpts) *ttrpc.Client {
	return ttrpc.NewClient(dial(address), options...)
}

func withToken(ctx context.Context, token string) context.Context {
	return withMetadata(ctx, ttrpc.MD{"authorization": {"Bearer " + token}})
}

func withMetadata(ctx context.Context, metadata ttrpc.MD) context.Context {
	return ttrpc.WithMetadata(ctx, metadata)
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
