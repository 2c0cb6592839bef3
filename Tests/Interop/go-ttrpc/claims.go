package main

import (
	"context"
	"encoding/base64"
	"os"
	"strings"

	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	api "parley/v1"
)

// everyMethod calls each method once as this caller, and answers each one's error by the method's name.
func (s *session) everyMethod(caller context.Context) map[string]error {
	interaction := sample(newConversation(), now())
	_, record := s.client.RecordInteraction(caller, &api.RecordInteractionRequest{Interaction: interaction})
	_, records := s.client.RecordInteractions(caller, &api.RecordInteractionsRequest{Interactions: []*api.Interaction{interaction}})
	_, list := s.client.ListInteractions(caller, &api.ListInteractionsRequest{})
	_, get := s.client.GetInteraction(caller, &api.GetInteractionRequest{Id: interaction.Id})
	_, stats := s.client.GetStats(caller, &api.GetStatsRequest{})
	return map[string]error{
		"RecordInteraction": record, "RecordInteractions": records,
		"ListInteractions": list, "GetInteraction": get, "GetStats": stats,
	}
}

func (s *session) requireRefusedEverywhere(what string, caller context.Context) {
	for method, err := range s.everyMethod(caller) {
		require(err != nil, "%s: %s answers", what, method)
		refused(err, codes.Unauthenticated)
	}
}

func noTokenIsRefused(s *session) {
	s.requireRefusedEverywhere("no token", s.nobody)
}

func badTokensAreRefused(s *session) {
	token := os.Getenv("PARLEY_TOKEN")
	parts := strings.Split(token, ".")
	require(len(parts) == 3, "PARLEY_TOKEN is no JWT")
	encode := base64.RawURLEncoding.EncodeToString
	claims := string(must(base64.RawURLEncoding.DecodeString(parts[1])))

	for what, values := range map[string][]string{
		"garbage":         {"Bearer garbage"},
		"nothing":         {"Bearer "},
		"another scheme":  {"Basic " + token},
		"forged claims":   {"Bearer " + parts[0] + "." + encode([]byte(strings.Replace(claims, "{", "{ ", 1))) + "." + parts[2]},
		"other signature": {"Bearer " + parts[0] + "." + parts[1] + "." + encode(randomBytes(32))},
		"no signature":    {"Bearer " + parts[0] + "." + parts[1] + "."},
		"alg none":        {"Bearer " + encode([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + parts[1] + "."},
		"two tokens":      {"Bearer " + token, "Bearer " + os.Getenv("PARLEY_OTHER_TOKEN")},
	} {
		s.requireRefusedEverywhere(what, withMetadata(s.nobody, ttrpc.MD{"authorization": values}))
	}
}

func missingScopeIsNamed(s *session) {
	for method, err := range s.everyMethod(s.reader) {
		switch {
		case strings.HasPrefix(method, "Record"):
			message := refused(err, codes.PermissionDenied).status.Message
			require(strings.Contains(message, "interactions:record"), "%s: the message does not name the scope: %q", method, message)
		case method == "GetInteraction":
			refused(err, codes.NotFound) // it may look; nothing was recorded
		default:
			require(err == nil, "%s: %v", method, err)
		}
	}
}

func metadataKeysAnyCase(s *session) {
	bearer := "Bearer " + os.Getenv("PARLEY_TOKEN")
	shouted := withMetadata(s.nobody, ttrpc.MD{"AUTHORIZATION": {bearer}})
	must(s.client.ListInteractions(shouted, &api.ListInteractionsRequest{}))

	twice := withMetadata(s.nobody, ttrpc.MD{"AUTHORIZATION": {bearer}, "authorization": {bearer}})
	s.requireRefusedEverywhere("the key in two cases", twice)
}

func tenantHeaderMustAgree(s *session) {
	contradicting := withMetadata(s.nobody, ttrpc.MD{
		"authorization": {"Bearer " + os.Getenv("PARLEY_TOKEN")},
		"x-tenant-id":   {"interop-no-such-tenant"},
	})
	for method, err := range s.everyMethod(contradicting) {
		require(err != nil, "%s answers", method)
		code := status.Code(err)
		require(code == codes.Unauthenticated || code == codes.PermissionDenied, "%s: %v", method, err)
		refused(err, code)
	}
}
