# frozen_string_literal: true

require 'google/protobuf/well_known_types'
require 'google/rpc/error_details_pb'
require 'grpc'
require 'parley/v1/interactions_services_pb'
require 'securerandom'

# What every Ruby caller of Parley needs beside the generated code.
module Parley
  # Adds the token to every call.
  class Bearer < GRPC::ClientInterceptor
    def initialize(token)
      super()
      @token = token
    end

    def request_response(request:, call:, method:, metadata:)
      metadata['authorization'] = "Bearer #{@token}"
      yield
    end
  end

  # A client of unix:PATH or HOST:PORT, without TLS. A call takes at most `timeout` seconds unless it
  # is given a deadline of its own.
  def self.connect(address, token = nil, timeout: 10)
    V1::InteractionService::Stub.new(
      address, :this_channel_is_insecure,
      timeout: timeout, interceptors: token ? [Bearer.new(token)] : []
    )
  end

  # A UUIDv7 of this time. Made before the first try, and sent with every retry, it has an interaction
  # recorded once.
  def self.new_id(at = Time.now)
    ms = format('%012x', at.to_i * 1000 + at.nsec / 1_000_000)
    random = SecureRandom.uuid # version 4: of it all but the first 48 bits and the version are kept
    "#{ms[0, 8]}-#{ms[8, 4]}-7#{random[15..]}"
  end

  # The first detail of this kind that an error carries: Google::Rpc::BadRequest, ErrorInfo or
  # RetryInfo.
  def self.detail(error, kind)
    details = error.to_rpc_status&.details || []
    details.find { |detail| detail.is(kind) }&.unpack(kind)
  end
end
