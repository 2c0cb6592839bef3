#!/usr/bin/env python3
"""Makes up interactions of two tenants, one JSON object a line, as `parley import` and check.py read them.

usage: samples.py COUNT SEED

The same seed makes the same lines. Of each tenant half; no two of a tenant fall into one millisecond. Times lie around
the months that check.py asks for, also on their edges and outside.
"""

import json
import random
import sys

TENANTS = ("airline-0", "airline-1")
MODELS = ("gpt-4o", "gpt-4o-mini", "ein Modell mit Ümläuten", "")
TYPES = ("text", "text", "voice", "email", "")
INTENTS = ("track_order", "refund", "cancel_reservation", "größe ändern", "问候", "with \"quotes\"")
REASONS = ("asked for a person", "payment dispute", "Beschwerde: „zu spät“", "tab\tand\nline")
WORDS = ("where", "is", "my", "order", "✈️", "größer", "请", "<b>", "\\", "100%", "'quoted'", "line\nbreak", "e\u0301")
# May and June of 2024, a little more on both sides, in milliseconds.
DAY = 24 * 60 * 60 * 1000
START, END = 1714521600000, 1719792000000
EDGES = (START - 1, START, START + DAY - 1, START + DAY, END - 1, END)


def words(chance, count_max):
    return " ".join(chance.choice(WORDS) for _ in range(chance.randint(0, count_max)))


def intents(chance):
    names = chance.sample(INTENTS, chance.choice((0, 0, 1, 1, 2, 3)))
    return [{"name": name, "confidence": round(chance.random(), 4)} for name in names]


def interaction(chance, tenant, ms):
    is_handed = chance.random() < 0.2
    prompt, completion = chance.randint(0, 8000), chance.choice((0, 1, chance.randint(2, 900)))
    # Far beyond what a 64-bit float holds exactly, once in a while.
    nanos = chance.choice((0, 1, prompt * 2500 + completion * 10_000, chance.randint(0, 9 * 10**15)))
    return {
        "tenant": tenant,
        "conversation_id": f"conversation-{chance.randint(1, 40)}",
        "created_at_ms": ms,
        "customer_message": words(chance, 20),
        "agent_response": words(chance, 60),
        "model_used": chance.choice(MODELS),
        "detected_intents": intents(chance),
        "context_size": chance.randint(0, 9000),
        "processing_time_ms": chance.choice((0, chance.randint(1, 127), chance.randint(128, 6000), chance.randint(0, 10**6))),
        "confidence_score": chance.choice((0, 1, 0.7, round(chance.random(), 6))),
        "handoff_triggered": is_handed,
        "handoff_reason": chance.choice(REASONS) if is_handed else "",
        "message_type": chance.choice(TYPES),
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "estimated_cost_usd": f"{nanos // 10**9}.{nanos % 10**9:09}",
    }


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    count, seed = map(int, sys.argv[1:])
    chance = random.Random(seed)
    for tenant in TENANTS:
        times = {*EDGES, *chance.sample(range(START - 2 * DAY, END + 2 * DAY), count // 2 - len(EDGES))}
        for ms in chance.sample(sorted(times), len(times)):
            print(json.dumps(interaction(chance, tenant, ms)))


if __name__ == "__main__":
    main()
