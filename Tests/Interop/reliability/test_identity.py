"""Ids, request ids and pages where many interactions share a moment."""

import random
import threading
import uuid

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from parley.v1 import interactions_pb2 as pb

MOMENT_MS = 1_760_000_000_000


def at(ms):
    return Timestamp(seconds=ms // 1000, nanos=ms % 1000 * 1_000_000)


def interaction_id(ms):
    return str(
        uuid.UUID(int=(ms << 80) | (7 << 76) | (random.getrandbits(12) << 64) | (2 << 62) | random.getrandbits(62))
    )


def record(tenant, request_id, ms, text="hello"):
    turn = pb.Interaction(conversation_id="c", customer_message=text, created_at=at(ms))
    request = pb.RecordInteractionRequest(interaction=turn, request_id=request_id)
    return tenant.stub.RecordInteraction(request, metadata=tenant.metadata, timeout=30)


def test_a_request_id_names_one_interaction_of_one_millisecond(tenant):
    first = record(tenant, "r-1", MOMENT_MS)
    assert record(tenant, "r-1", MOMENT_MS).already_recorded
    later = record(tenant, "r-1", MOMENT_MS + 1)
    assert later.interaction_id != first.interaction_id and not later.already_recorded
    with pytest.raises(grpc.RpcError) as refused:
        record(tenant, "r-1", MOMENT_MS, text="something else")
    assert refused.value.code() == grpc.StatusCode.ALREADY_EXISTS


def test_a_request_id_is_any_text_of_up_to_128_bytes(tenant):
    assert not record(tenant, "None", MOMENT_MS).already_recorded
    assert not record(tenant, "é" * 64, MOMENT_MS).already_recorded
    with pytest.raises(grpc.RpcError) as refused:
        record(tenant, "é" * 64 + "x", MOMENT_MS)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "request_id" in refused.value.details() and "128" in refused.value.details()


def test_two_tenants_may_use_the_same_request_id(tenants):
    one, other = tenants(), tenants()
    assert not record(one, "shared", MOMENT_MS, text="one").already_recorded
    assert not record(other, "shared", MOMENT_MS, text="other").already_recorded
    for tenant, text in ((one, "one"), (other, "other")):
        page = tenant.stub.ListInteractions(
            pb.ListInteractionsRequest(view=pb.INTERACTION_VIEW_FULL), metadata=tenant.metadata, timeout=30
        )
        assert [turn.customer_message for turn in page.interactions] == [text]


def test_pages_show_each_of_5000_interactions_of_one_millisecond_once(tenant):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    random.seed(seed)

    def batch(ms, count):
        turns = [pb.Interaction(id=interaction_id(ms), conversation_id="c") for _ in range(count)]
        request = pb.RecordInteractionsRequest(interactions=turns)
        tenant.stub.RecordInteractions(request, metadata=tenant.metadata, timeout=60)
        return {turn.id for turn in turns}

    wanted = set()
    for _ in range(5):
        wanted |= batch(MOMENT_MS, 1000)
    stop = threading.Event()

    def others():
        while not stop.is_set():
            batch(MOMENT_MS - 1 - random.randrange(10), 3)
            batch(MOMENT_MS + 1 + random.randrange(10), 3)

    recording = threading.Thread(target=others)
    recording.start()
    try:
        for size in (3, 199, 200, 201):
            assert walk(tenant, size) == wanted, f"seed {seed}, pages of {size}"
        assert len(walk(tenant, 1, pages=50)) == 50
    finally:
        stop.set()
        recording.join()


def walk(tenant, size, pages=None):
    """The ids of the moment's interactions; each may come once."""
    seen = []
    request = pb.ListInteractionsRequest(
        filter=pb.InteractionFilter(start_time=at(MOMENT_MS), end_time=at(MOMENT_MS + 1)), page_size=size
    )
    while pages is None or pages > 0:
        page = tenant.stub.ListInteractions(request, metadata=tenant.metadata, timeout=30)
        seen += [turn.id for turn in page.interactions]
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
        pages = pages and pages - 1
    assert len(seen) == len(set(seen))
    return set(seen)
