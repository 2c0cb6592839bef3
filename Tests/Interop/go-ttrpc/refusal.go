package main

import (
	"regexp"
	"strings"

	"github.com/golang/protobuf/proto"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpc "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// refusal is an error of the service, its details decoded.
type refusal struct {
	status *rpc.Status
	info   *errdetails.ErrorInfo
	fields []string // those google.rpc.BadRequest names
}

var upperSnake = regexp.MustCompile(`^[A-Z][A-Z0-9_]+[A-Z0-9]$`)

// refused insists that a call failed with this code and with what every error of the service carries.
func refused(err error, want codes.Code) refusal {
	require(err != nil, "succeeded, not %v", want)
	s, isStatus := status.FromError(err)
	require(isStatus, "no status but %q, want %v", err, want)
	require(s.Code() == want, "%v (%s), want %v", s.Code(), s.Message(), want)
	require(s.Message() != "", "%v without a message", want)

	r := refusal{status: s.Proto()}
	for _, detail := range r.status.Details {
		switch detail.TypeUrl {
		case "type.googleapis.com/google.rpc.BadRequest":
			var bad errdetails.BadRequest
			decode(detail.Value, &bad)
			for _, violation := range bad.FieldViolations {
				require(violation.Description != "", "%s is violated without a description", violation.Field)
				r.fields = append(r.fields, violation.Field)
			}
		case "type.googleapis.com/google.rpc.ErrorInfo":
			require(r.info == nil, "more than one ErrorInfo")
			r.info = &errdetails.ErrorInfo{}
			decode(detail.Value, r.info)
		}
	}
	require(r.info != nil, "%v (%s) without an ErrorInfo", s.Code(), s.Message())
	require(r.info.Domain == "parley", "ErrorInfo's domain is %q", r.info.Domain)
	require(upperSnake.MatchString(r.info.Reason), "ErrorInfo's reason %q is not UPPER_SNAKE_CASE", r.info.Reason)
	return r
}

func decode(value []byte, message proto.Message) {
	err := proto.Unmarshal(value, message)
	require(err == nil, "a detail does not decode: %v", err)
}

func (r refusal) names(field string) bool {
	for _, named := range r.fields {
		if strings.HasPrefix(named, field) {
			return true
		}
	}
	return false
}
