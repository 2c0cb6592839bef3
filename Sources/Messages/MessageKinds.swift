// Made by deploy/generate: the codec of every message that is read or written whole.

import CMessages

extension MessageKind<Google__Protobuf__FileDescriptorSet> {
  static var fileDescriptorSet: Self {
    Self(
      "google.protobuf.FileDescriptorSet",
      google__protobuf__file_descriptor_set__init,
      google__protobuf__file_descriptor_set__unpack,
      google__protobuf__file_descriptor_set__get_packed_size,
      google__protobuf__file_descriptor_set__pack)
  }
}

extension MessageKind<Google__Protobuf__FileDescriptorProto> {
  static var fileDescriptorProto: Self {
    Self(
      "google.protobuf.FileDescriptorProto",
      google__protobuf__file_descriptor_proto__init,
      google__protobuf__file_descriptor_proto__unpack,
      google__protobuf__file_descriptor_proto__get_packed_size,
      google__protobuf__file_descriptor_proto__pack)
  }
}

extension MessageKind<Google__Rpc__ErrorInfo> {
  static var errorInfo: Self {
    Self(
      "google.rpc.ErrorInfo",
      google__rpc__error_info__init,
      google__rpc__error_info__unpack,
      google__rpc__error_info__get_packed_size,
      google__rpc__error_info__pack)
  }
}

extension MessageKind<Google__Rpc__RetryInfo> {
  static var retryInfo: Self {
    Self(
      "google.rpc.RetryInfo",
      google__rpc__retry_info__init,
      google__rpc__retry_info__unpack,
      google__rpc__retry_info__get_packed_size,
      google__rpc__retry_info__pack)
  }
}

extension MessageKind<Google__Rpc__BadRequest> {
  static var badRequest: Self {
    Self(
      "google.rpc.BadRequest",
      google__rpc__bad_request__init,
      google__rpc__bad_request__unpack,
      google__rpc__bad_request__get_packed_size,
      google__rpc__bad_request__pack)
  }
}

extension MessageKind<Google__Rpc__Status> {
  static var status: Self {
    Self(
      "google.rpc.Status",
      google__rpc__status__init,
      google__rpc__status__unpack,
      google__rpc__status__get_packed_size,
      google__rpc__status__pack)
  }
}

extension MessageKind<Grpc__Health__V1__HealthCheckRequest> {
  static var healthCheckRequest: Self {
    Self(
      "grpc.health.v1.HealthCheckRequest",
      grpc__health__v1__health_check_request__init,
      grpc__health__v1__health_check_request__unpack,
      grpc__health__v1__health_check_request__get_packed_size,
      grpc__health__v1__health_check_request__pack)
  }
}

extension MessageKind<Grpc__Health__V1__HealthCheckResponse> {
  static var healthCheckResponse: Self {
    Self(
      "grpc.health.v1.HealthCheckResponse",
      grpc__health__v1__health_check_response__init,
      grpc__health__v1__health_check_response__unpack,
      grpc__health__v1__health_check_response__get_packed_size,
      grpc__health__v1__health_check_response__pack)
  }
}

extension MessageKind<Grpc__Reflection__V1__ServerReflectionRequest> {
  static var serverReflectionRequest: Self {
    Self(
      "grpc.reflection.v1.ServerReflectionRequest",
      grpc__reflection__v1__server_reflection_request__init,
      grpc__reflection__v1__server_reflection_request__unpack,
      grpc__reflection__v1__server_reflection_request__get_packed_size,
      grpc__reflection__v1__server_reflection_request__pack)
  }
}

extension MessageKind<Grpc__Reflection__V1__ServerReflectionResponse> {
  static var serverReflectionResponse: Self {
    Self(
      "grpc.reflection.v1.ServerReflectionResponse",
      grpc__reflection__v1__server_reflection_response__init,
      grpc__reflection__v1__server_reflection_response__unpack,
      grpc__reflection__v1__server_reflection_response__get_packed_size,
      grpc__reflection__v1__server_reflection_response__pack)
  }
}

extension MessageKind<Parley__V1__RecordInteractionRequest> {
  static var recordInteractionRequest: Self {
    Self(
      "parley.v1.RecordInteractionRequest",
      parley__v1__record_interaction_request__init,
      parley__v1__record_interaction_request__unpack,
      parley__v1__record_interaction_request__get_packed_size,
      parley__v1__record_interaction_request__pack)
  }
}

extension MessageKind<Parley__V1__RecordInteractionResponse> {
  static var recordInteractionResponse: Self {
    Self(
      "parley.v1.RecordInteractionResponse",
      parley__v1__record_interaction_response__init,
      parley__v1__record_interaction_response__unpack,
      parley__v1__record_interaction_response__get_packed_size,
      parley__v1__record_interaction_response__pack)
  }
}

extension MessageKind<Parley__V1__RecordInteractionsRequest> {
  static var recordInteractionsRequest: Self {
    Self(
      "parley.v1.RecordInteractionsRequest",
      parley__v1__record_interactions_request__init,
      parley__v1__record_interactions_request__unpack,
      parley__v1__record_interactions_request__get_packed_size,
      parley__v1__record_interactions_request__pack)
  }
}

extension MessageKind<Parley__V1__RecordInteractionsResponse> {
  static var recordInteractionsResponse: Self {
    Self(
      "parley.v1.RecordInteractionsResponse",
      parley__v1__record_interactions_response__init,
      parley__v1__record_interactions_response__unpack,
      parley__v1__record_interactions_response__get_packed_size,
      parley__v1__record_interactions_response__pack)
  }
}

extension MessageKind<Parley__V1__ListInteractionsRequest> {
  static var listInteractionsRequest: Self {
    Self(
      "parley.v1.ListInteractionsRequest",
      parley__v1__list_interactions_request__init,
      parley__v1__list_interactions_request__unpack,
      parley__v1__list_interactions_request__get_packed_size,
      parley__v1__list_interactions_request__pack)
  }
}

extension MessageKind<Parley__V1__ListInteractionsResponse> {
  static var listInteractionsResponse: Self {
    Self(
      "parley.v1.ListInteractionsResponse",
      parley__v1__list_interactions_response__init,
      parley__v1__list_interactions_response__unpack,
      parley__v1__list_interactions_response__get_packed_size,
      parley__v1__list_interactions_response__pack)
  }
}

extension MessageKind<Parley__V1__GetInteractionRequest> {
  static var getInteractionRequest: Self {
    Self(
      "parley.v1.GetInteractionRequest",
      parley__v1__get_interaction_request__init,
      parley__v1__get_interaction_request__unpack,
      parley__v1__get_interaction_request__get_packed_size,
      parley__v1__get_interaction_request__pack)
  }
}

extension MessageKind<Parley__V1__GetInteractionResponse> {
  static var getInteractionResponse: Self {
    Self(
      "parley.v1.GetInteractionResponse",
      parley__v1__get_interaction_response__init,
      parley__v1__get_interaction_response__unpack,
      parley__v1__get_interaction_response__get_packed_size,
      parley__v1__get_interaction_response__pack)
  }
}

extension MessageKind<Parley__V1__GetStatsRequest> {
  static var getStatsRequest: Self {
    Self(
      "parley.v1.GetStatsRequest",
      parley__v1__get_stats_request__init,
      parley__v1__get_stats_request__unpack,
      parley__v1__get_stats_request__get_packed_size,
      parley__v1__get_stats_request__pack)
  }
}

extension MessageKind<Parley__V1__GetStatsResponse> {
  static var getStatsResponse: Self {
    Self(
      "parley.v1.GetStatsResponse",
      parley__v1__get_stats_response__init,
      parley__v1__get_stats_response__unpack,
      parley__v1__get_stats_response__get_packed_size,
      parley__v1__get_stats_response__pack)
  }
}

extension MessageKind<Ttrpc__Request> {
  static var ttrpcRequest: Self {
    Self(
      "ttrpc.Request",
      ttrpc__request__init,
      ttrpc__request__unpack,
      ttrpc__request__get_packed_size,
      ttrpc__request__pack)
  }
}

extension MessageKind<Ttrpc__Response> {
  static var ttrpcResponse: Self {
    Self(
      "ttrpc.Response",
      ttrpc__response__init,
      ttrpc__response__unpack,
      ttrpc__response__get_packed_size,
      ttrpc__response__pack)
  }
}
