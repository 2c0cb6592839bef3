"""Numbers that overflow elsewhere, groups without number, and texts that break other stores."""

import random
import uuid

import pytest
from google.protobuf import timestamp_pb2

from parley.v1 import interactions_pb2 as pb


def record_all(tenant, turns):
    response = tenant.stub.RecordInteractions(
        pb.RecordInteractionsRequest(interactions=turns), metadata=tenant.metadata, timeout=60
    )
    return list(response.results)


def stats(tenant):
    return tenant.stub.GetStats(pb.GetStatsRequest(), metadata=tenant.metadata, timeout=60)


def test_sums_pass_32_bits_and_stay_exact(tenant):
    tokens = 2_147_483_647
    usage = pb.TokenUsage(prompt_tokens=tokens)
    turns = [pb.Interaction(conversation_id="c", token_usage=usage) for _ in range(3)]
    turns += [pb.Interaction(conversation_id="c", estimated_cost_nanos=9 * 10**15) for _ in range(2)]
    record_all(tenant, turns)
    totals = stats(tenant).totals
    assert totals.total_tokens == 6_442_450_941
    assert totals.total_cost_nanos == 18_000_000_000_000_000


def test_5000_models_are_999_groups_and_one_exact_remainder(tenant):
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    costs = {f"model-{n}": [chance.randrange(10**9) for _ in range(2 if n < 999 else 1)] for n in range(5000)}
    turns = [
        pb.Interaction(conversation_id="c", model_used=model, estimated_cost_nanos=cost)
        for model, all_costs in costs.items()
        for cost in all_costs
    ]
    for start in range(0, len(turns), 1000):
        record_all(tenant, turns[start : start + 1000])
    answer = stats(tenant)
    groups = {group.key: group.stats for group in answer.by_model if not group.is_remainder}
    rest = [group.stats for group in answer.by_model if group.is_remainder]
    assert set(groups) == {f"model-{n}" for n in range(999)}, f"seed {seed}"
    for model, group in groups.items():
        assert (group.total_interactions, group.total_cost_nanos) == (2, sum(costs[model])), f"seed {seed}: {model}"
    assert len(rest) == 1 and rest[0].total_interactions == 4001
    assert rest[0].total_cost_nanos == sum(sum(costs[f"model-{n}"]) for n in range(999, 5000)), f"seed {seed}"
    assert answer.totals.total_interactions == len(turns)


# Each as the bytes of `customer_message`, which no protobuf library would write.
BAD_TEXTS = {
    "a NUL": b"before\x00after",
    "an overlong form": b"\xc0\xaf",
    "a lone surrogate": b"\xed\xa0\x80",
    "a character cut off": "€".encode()[:2],
    "a character past Unicode": b"\xf4\x90\x80\x80",
}


@pytest.mark.parametrize("text", BAD_TEXTS.values(), ids=BAD_TEXTS.keys())
def test_a_bad_text_is_named_and_costs_only_its_own_interaction(tenant, text):
    good = [pb.Interaction(id=_id(), conversation_id="c", customer_message="fine") for _ in range(999)]
    bad = pb.Interaction(id=_id(), conversation_id="c").SerializeToString()
    bad += _field(pb.Interaction.CUSTOMER_MESSAGE_FIELD_NUMBER, text)
    encoded = [turn.SerializeToString() for turn in good[:500]] + [bad]
    encoded += [turn.SerializeToString() for turn in good[500:]]
    call = tenant.channel.unary_unary(
        "/parley.v1.InteractionService/RecordInteractions",
        request_serializer=lambda message: message,
        response_deserializer=pb.RecordInteractionsResponse.FromString,
    )
    response = call(
        b"".join(_field(pb.RecordInteractionsRequest.INTERACTIONS_FIELD_NUMBER, turn) for turn in encoded),
        metadata=tenant.metadata,
        timeout=60,
    )
    refused = [place for place, result in enumerate(response.results) if result.HasField("error")]
    assert refused == [500]
    assert "customer_message" in response.results[500].error.message
    assert stats(tenant).totals.total_interactions == 999


def _field(number, value):
    length, count = b"", len(value)
    while count > 127:
        length += bytes([count & 127 | 128])
        count >>= 7
    return bytes([number << 3 | 2]) + length + bytes([count]) + value


def _id():
    now = timestamp_pb2.Timestamp()
    now.GetCurrentTime()
    ms = now.ToMilliseconds()
    return str(
        uuid.UUID(int=(ms << 80) | (7 << 76) | (random.getrandbits(12) << 64) | (2 << 62) | random.getrandbits(62))
    )
