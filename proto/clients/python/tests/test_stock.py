"""The service by gRPC as others wrote it: no line of parley_client, only generated code."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, cast

import grpc
import pytest
from conftest import Service
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from grpc_reflection.v1alpha.reflection_pb2 import (
    ServerReflectionRequest,
    ServerReflectionResponse,
)
from grpc_status import rpc_status
from grpclib import GRPCError
from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.const import Status
from proxy import Proxy

from parley.v1.interactions_pb2 import (
    GetInteractionRequest,
    GetInteractionResponse,
    GetStatsRequest,
    GetStatsResponse,
    Interaction,
    InteractionFilter,
    ListInteractionsRequest,
    RecordInteractionRequest,
    RecordInteractionResponse,
)
from parley.v1.interactions_pb2_grpc import InteractionServiceStub

SERVICE = "parley.v1.InteractionService"
WELL_KNOWN = {"", SERVICE}


@pytest.fixture(params=["tcp", "unix"])
def channel(request: pytest.FixtureRequest, service: Service) -> Iterator[grpc.Channel]:
    address = service.address if request.param == "tcp" else service.unix_address
    with grpc.insecure_channel(address) as channel:
        yield channel


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


def test_records_lists_gets_and_counts(
    channel: grpc.Channel, service: Service, conversation: str
) -> None:
    stub: Any = InteractionServiceStub(channel)
    metadata = bearer(service.token)
    sent = RecordInteractionRequest(
        interaction=Interaction(conversation_id=conversation, customer_message="x" * 60_000)
    )
    recorded = stub.RecordInteraction(
        sent, metadata=metadata, timeout=60, compression=grpc.Compression.Gzip
    )
    found = stub.GetInteraction(
        GetInteractionRequest(id=recorded.interaction_id),
        metadata=metadata,
        compression=grpc.Compression.Deflate,
    )
    assert found.interaction.customer_message == "x" * 60_000
    wanted = InteractionFilter(conversation_id=conversation)
    page = stub.ListInteractions(ListInteractionsRequest(filter=wanted), metadata=metadata)
    assert [i.id for i in page.interactions] == [recorded.interaction_id]
    stats = stub.GetStats(GetStatsRequest(filter=wanted), metadata=metadata)
    assert stats.totals.total_interactions == 1


def test_an_error_with_its_details(channel: grpc.Channel, service: Service) -> None:
    stub: Any = InteractionServiceStub(channel)
    with pytest.raises(grpc.RpcError) as refused:
        stub.RecordInteraction(RecordInteractionRequest(), metadata=bearer(service.token))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    status: Any = rpc_status.from_call(cast("grpc.Call", refused.value))
    info, request = ErrorInfo(), BadRequest()
    assert any(detail.Unpack(info) for detail in status.details)
    assert any(detail.Unpack(request) for detail in status.details)
    assert (info.reason, info.domain) == ("FIELD_INVALID", "parley")
    assert request.field_violations[0].field.startswith("interaction")


def test_no_token(channel: grpc.Channel) -> None:
    stub: Any = InteractionServiceStub(channel)
    with pytest.raises(grpc.RpcError) as refused:
        stub.GetStats(GetStatsRequest())
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_deadline(service: Service, proxy: Proxy) -> None:
    with grpc.insecure_channel(proxy.address) as channel:
        stub: Any = InteractionServiceStub(channel)
        stub.GetStats(GetStatsRequest(), metadata=bearer(service.token), timeout=60)
        proxy.hang()
        with pytest.raises(grpc.RpcError) as late:
            stub.GetStats(GetStatsRequest(), metadata=bearer(service.token), timeout=0.2)
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("method", [f"/{SERVICE}/Nothing", "/parley.v1.Nothing/GetStats"])
def test_an_unknown_method(channel: grpc.Channel, service: Service, method: str) -> None:
    call: Any = channel.unary_unary(method)
    with pytest.raises(grpc.RpcError) as refused:
        call(b"", metadata=bearer(service.token))
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_message_that_is_none(channel: grpc.Channel, service: Service) -> None:
    call: Any = channel.unary_unary(f"/{SERVICE}/GetStats")
    with pytest.raises(grpc.RpcError) as refused:
        call(b"\xff\xff", metadata=bearer(service.token))
    assert refused.value.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL)


def test_a_message_too_large(channel: grpc.Channel, service: Service) -> None:
    call: Any = channel.unary_unary(f"/{SERVICE}/GetStats")
    with pytest.raises(grpc.RpcError) as refused:
        call(bytes(5 * 1024 * 1024), metadata=bearer(service.token))
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_many_calls_on_one_connection(
    channel: grpc.Channel, service: Service, conversation: str
) -> None:
    stub: Any = InteractionServiceStub(channel)
    metadata = bearer(service.token)
    interactions = [Interaction(conversation_id=conversation, context_size=n) for n in range(500)]
    records = [
        stub.RecordInteraction.future(RecordInteractionRequest(interaction=i), metadata=metadata)
        for i in interactions
    ]
    ids = [record.result(30).interaction_id for record in records]
    gets = [
        stub.GetInteraction.future(GetInteractionRequest(id=id), metadata=metadata) for id in ids
    ]
    assert [get.result(30).interaction.context_size for get in gets] == list(range(500))


@pytest.mark.parametrize("name", sorted(WELL_KNOWN))
def test_health_without_a_token(channel: grpc.Channel, name: str) -> None:
    health: Any = HealthStub(channel)
    request = HealthCheckRequest(service=name)
    assert health.Check(request).status == HealthCheckResponse.SERVING
    watch = health.Watch(request)
    assert next(watch).status == HealthCheckResponse.SERVING
    watch.cancel()


def test_health_of_what_is_not_there(channel: grpc.Channel) -> None:
    health: Any = HealthStub(channel)
    request = HealthCheckRequest(service="parley.v1.Nothing")
    with pytest.raises(grpc.RpcError) as refused:
        health.Check(request)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    watch = health.Watch(request)
    assert next(watch).status == HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


def test_reflection(service: Service) -> None:
    with grpc.insecure_channel(service.reflection_address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert {SERVICE, "grpc.health.v1.Health"} <= set(database.get_services())
        described = DescriptorPool(database).FindServiceByName(SERVICE)
        assert described.methods_by_name["GetStats"].input_type.full_name.endswith(
            ".GetStatsRequest"
        )


def test_reflection_v1(service: Service) -> None:
    """The same messages under the name that newer tools ask for."""
    with grpc.insecure_channel(service.reflection_address) as channel:
        reflect: Any = channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            request_serializer=ServerReflectionRequest.SerializeToString,
            response_deserializer=ServerReflectionResponse.FromString,
        )
        (answer,) = reflect(iter([ServerReflectionRequest(list_services="*")]))
    assert SERVICE in {found.name for found in answer.list_services_response.service}


def test_reflection_is_off_by_default(service: Service) -> None:
    with grpc.insecure_channel(service.address) as channel, pytest.raises(grpc.RpcError) as refused:
        ProtoReflectionDescriptorDatabase(channel).get_services()
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


def grpclib_channel(address: str) -> Channel:
    """By grpclib: HTTP/2 in Python, which shares nothing with grpcio."""
    if address.startswith("unix:"):
        return Channel(path=address.removeprefix("unix:"))
    host, _, port = address.rpartition(":")
    return Channel(host, int(port))


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_second_http2_stack(service: Service, conversation: str, kind: str) -> None:
    async def main() -> None:
        address = service.address if kind == "tcp" else service.unix_address
        async with grpclib_channel(address) as channel:
            record = UnaryUnaryMethod(
                channel,
                f"/{SERVICE}/RecordInteraction",
                RecordInteractionRequest,
                RecordInteractionResponse,
            )
            get = UnaryUnaryMethod(
                channel, f"/{SERVICE}/GetInteraction", GetInteractionRequest, GetInteractionResponse
            )
            stats = UnaryUnaryMethod(
                channel, f"/{SERVICE}/GetStats", GetStatsRequest, GetStatsResponse
            )
            metadata = {"authorization": f"Bearer {service.token}"}
            sent = Interaction(conversation_id=conversation, agent_response="y" * 60_000)
            recorded = await record(
                RecordInteractionRequest(interaction=sent), metadata=metadata, timeout=60
            )
            id = recorded.interaction_id
            found = await asyncio.gather(
                *(get(GetInteractionRequest(id=id), metadata=metadata) for _ in range(50))
            )
            assert {len(each.interaction.agent_response) for each in found} == {60_000}
            wanted = InteractionFilter(conversation_id=conversation)
            counted = await stats(GetStatsRequest(filter=wanted), metadata=metadata)
            assert counted.totals.total_interactions == 1

            with pytest.raises(GRPCError) as refused:
                await get(GetInteractionRequest(id="abc"), metadata=metadata)
            assert refused.value.status is Status.INVALID_ARGUMENT
            assert any(isinstance(detail, BadRequest) for detail in refused.value.details)

    asyncio.run(main())
