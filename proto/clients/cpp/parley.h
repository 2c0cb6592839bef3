// What every C++ caller of Parley needs beside the generated code.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <random>
#include <string>

#include <grpcpp/grpcpp.h>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "parley/v1/interactions.grpc.pb.h"

namespace parley {

// One call's context: the token, and a deadline, at which the server stops its work. A call needs a
// new one each time.
class Call : public grpc::ClientContext {
 public:
  explicit Call(const std::string& token, std::chrono::milliseconds timeout = std::chrono::seconds(10)) {
    if (!token.empty()) AddMetadata("authorization", "Bearer " + token);
    set_deadline(std::chrono::system_clock::now() + timeout);
  }
};

// A channel to unix:PATH or HOST:PORT, without TLS.
inline std::shared_ptr<grpc::Channel> connect(const std::string& address) {
  return grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
}

// A UUIDv7 of this time. Made before the first try, and sent with every retry, it has an interaction
// recorded once.
inline std::string new_id(std::chrono::system_clock::time_point at = std::chrono::system_clock::now()) {
  std::random_device random;
  const uint64_t ms = std::chrono::duration_cast<std::chrono::milliseconds>(at.time_since_epoch()).count();
  uint8_t id[16];
  for (int i = 0; i < 16; ++i) id[i] = i < 6 ? ms >> (40 - 8 * i) : random();
  id[6] = (id[6] & 0x0f) | 0x70;
  id[8] = (id[8] & 0x3f) | 0x80;

  std::string text;
  for (int i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += "0123456789abcdef"[id[i] >> 4];
    text += "0123456789abcdef"[id[i] & 0x0f];
  }
  return text;
}

// The first detail of this kind that an error carries: google::rpc::BadRequest, ErrorInfo or
// RetryInfo. An empty one where there is none.
template <typename Detail>
Detail detail(const grpc::Status& error) {
  google::rpc::Status status;
  Detail found;
  status.ParseFromString(error.error_details());
  for (const auto& packed : status.details()) {
    if (packed.UnpackTo(&found)) return found;
  }
  return Detail();
}

}  // namespace parley
