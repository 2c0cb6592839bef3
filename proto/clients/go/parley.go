// Package parley is what every Go caller of Parley needs beside the generated code: a connection for
// gRPC, and ids made before the first try.
package parley

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// Dial connects to unix:PATH or HOST:PORT, without TLS. Every call carries the token; with "" none does.
func Dial(address, token string, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	return grpc.Dial(address, append([]grpc.DialOption{
		grpc.WithInsecure(),
		grpc.WithPerRPCCredentials(bearer(token)),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(codec{})),
	}, options...)...)
}

// NewID makes a UUIDv7 of this time. Made before the first try, and sent with every retry, it has an
// interaction recorded once.
func NewID(at time.Time) string {
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(at.UnixMilli()))
	var id [16]byte
	copy(id[:6], ms[2:])
	if _, err := rand.Read(id[6:]); err != nil {
		panic(err) // no system we know of comes here
	}
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

type bearer string

func (token bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	if token == "" {
		return nil, nil
	}
	return map[string]string{"authorization": "Bearer " + string(token)}, nil
}

func (bearer) RequireTransportSecurity() bool { return false }

// codec stands in for the one of gRPC-Go before 1.34 or so (Debian 12 has 1.33), which cannot encode
// the messages of today's protoc-gen-go.
type codec struct{}

func (codec) Name() string { return "proto" }

func (codec) Marshal(message interface{}) ([]byte, error) {
	return proto.Marshal(message.(proto.Message))
}

func (codec) Unmarshal(data []byte, message interface{}) error {
	return proto.Unmarshal(data, message.(proto.Message))
}
