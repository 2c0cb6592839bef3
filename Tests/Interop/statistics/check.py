#!/usr/bin/env python3
"""Imports a file of interactions, and compares `parley`'s lists and statistics with what this computes from the file.

usage: check.py PARLEY_BINARY FILE.jsonl TENANT

PARLEY_ADDRESS and PARLEY_TOKEN in the environment name the server and a token for TENANT, with the
scopes analytics:view and interactions:record. TENANT holds nothing but what this imports. Everything
is counted in integers and fractions; nothing here is shared with what it checks.
"""

import json
import math
import re
import subprocess
import sys
from collections import Counter, defaultdict
from datetime import datetime, timezone
from decimal import Decimal
from fractions import Fraction
from functools import partial

PAGE_SIZE = 50
EVER = ["--from", "2000-01-01T00:00:00Z", "--to", "2100-01-01T00:00:00Z"]
STATS_START, STATS_END = "2024-05-01T00:00:00Z", "2024-07-01T00:00:00Z"
DAY_MS = 24 * 60 * 60 * 1000
AVERAGE_TOLERANCE = Fraction(1, 10**9)
# A tenant's percentiles come from its rows, or with more of them from buckets whose middles are off by this at most.
ROWS_MAX, BUCKET_TOLERANCE = 2000, Fraction(1, 128)


class Mismatch(Exception):
    """What the command printed is not what the file says."""


def require(holds, what):
    if not holds:
        raise Mismatch(what)


def require_equal(got, want, what):
    require(got == want, f"{what} is {shortened(got)}, want {shortened(want)}")


def shortened(value, length=200):
    text = repr(value)
    return text if len(text) <= length else text[:length] + "..."


def rfc3339(ms):
    moment = datetime.fromtimestamp(ms // 1000, timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03}Z"


def milliseconds(text):
    moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    return int(moment.timestamp()) * 1000


# --- the file


def read_lines(path, tenant):
    """The tenant's lines as the schema would show them, newest first."""
    with open(path, encoding="utf-8") as file:
        lines = [json.loads(line, parse_float=Decimal) for line in file if line.strip()]
    wanted = [expected(line) for line in lines if line["tenant"] == tenant]
    wanted.sort(key=lambda interaction: interaction["ms"], reverse=True)
    return wanted


def expected(line):
    nanos = Decimal(line["estimated_cost_usd"]) * 10**9
    assert nanos == int(nanos), f"a cost finer than a nano-dollar: {line['estimated_cost_usd']}"
    return {
        "ms": line["created_at_ms"],
        "created_at": rfc3339(line["created_at_ms"]),
        "token_usage": {
            "prompt_tokens": line["prompt_tokens"],
            "completion_tokens": line["completion_tokens"],
            "total_tokens": line["prompt_tokens"] + line["completion_tokens"],
        },
        "estimated_cost_nanos": int(nanos),
        "message_type": line["message_type"] or "text",
        **{
            field: line[field]
            for field in (
                "conversation_id",
                "customer_message",
                "agent_response",
                "detected_intents",
                "model_used",
                "context_size",
                "processing_time_ms",
                "confidence_score",
                "handoff_triggered",
                "handoff_reason",
            )
        },
    }


# --- the count


def count(interactions):
    total = len(interactions)
    times = sorted(i["processing_time_ms"] for i in interactions)
    scores = [Decimal(i["confidence_score"]) for i in interactions]
    micros = [round(score * 10**6) for score in scores]
    handed = sum(i["handoff_triggered"] for i in interactions)
    usage = Counter()
    for interaction in interactions:
        usage.update(interaction["token_usage"])
    bins = Counter(min(9, micro // 10**5) for micro in micros)
    high = sum(score >= Decimal("0.7") for score in scores)

    def mean(amount):
        return Fraction(amount, total) if total else Fraction(0)

    def nearest_rank(percent):
        return Decimal(times[math.ceil(Fraction(percent * total, 100)) - 1] if total else 0)

    return {
        "total_interactions": total,
        "total_cost_nanos": sum(i["estimated_cost_nanos"] for i in interactions),
        "avg_confidence": mean(sum(micros)) / 10**6,
        "handoff_count": handed,
        "handoff_rate": mean(handed),
        "avg_processing_time_ms": mean(sum(times)),
        "p50_processing_time_ms": nearest_rank(50),
        "p95_processing_time_ms": nearest_rank(95),
        "p99_processing_time_ms": nearest_rank(99),
        "prompt_tokens": usage["prompt_tokens"],
        "completion_tokens": usage["completion_tokens"],
        "total_tokens": usage["total_tokens"],
        "avg_tokens": mean(usage["total_tokens"]),
        "high_confidence_count": high,
        "low_confidence_count": total - high,
        "confidence_histogram": [bins[bin] for bin in range(10)],
    }


def grouped(interactions, key):
    groups = defaultdict(list)
    for interaction in interactions:
        groups[key(interaction)].append(interaction)
    return groups


# --- the command


class Parley:
    def __init__(self, binary):
        self.binary = binary

    def run(self, *arguments):
        done = subprocess.run([self.binary, *arguments], capture_output=True, encoding="utf-8", timeout=300)
        require(
            done.returncode == 0,
            f"`parley {' '.join(arguments)}` exits {done.returncode}: {done.stderr.strip()}",
        )
        return done.stdout

    def json(self, *arguments):
        printed = self.run(*arguments, "--json")
        try:
            # Decimal keeps a number as it is printed: an int64 stays an int, 5.0 does not become one.
            return json.loads(printed, parse_float=Decimal)
        except ValueError as error:
            raise Mismatch(f"`parley {' '.join(arguments)} --json` prints no JSON ({error}): {shortened(printed)}")

    def pages(self, *filters, view="full"):
        more, seen, pages = [], set(), []
        while True:
            page = self.json("list", "--view", view, "--page-size", str(PAGE_SIZE), *EVER, *filters, *more)
            pages.append(page.get("interactions", []))
            token = page.get("next_page_token", "")
            if not token:
                return pages
            require(token not in seen, "list: a page token leads back to itself")
            seen.add(token)
            more = ["--page-token", token]

    def all(self, *filters, view="full"):
        return [interaction for page in self.pages(*filters, view=view) for interaction in page]

    def stats(self, *filters):
        return self.json("stats", "--interval", "day", "--from", STATS_START, "--to", STATS_END, *filters)


# --- the comparison

# A printer of proto3 may leave out what has no value.
ABSENT = {str: "", int: 0, bool: False, list: [], Decimal: Decimal(0), dict: {}}


def require_interaction(got, want, what):
    for field, value in want.items():
        if field == "ms":
            continue
        printed = got.get(field, ABSENT[type(value)])
        if field == "confidence_score":
            require_equal(float(printed), float(value), f"{what}: {field}")
        elif field == "detected_intents":
            require_equal(intents(printed), intents(value), f"{what}: {field}")
        elif field == "token_usage":
            require_equal(Counter(printed), Counter(value), f"{what}: {field}")
        else:
            require(type(printed) is type(value), f"{what}: {field} is printed as {shortened(printed)}")
            require_equal(printed, value, f"{what}: {field}")
    updated = got.get("updated_at", "")
    require(
        re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", updated),
        f"{what}: updated_at is {updated!r}",
    )


def intents(listed):
    return [(intent.get("name", ""), float(intent.get("confidence", 0))) for intent in listed]


def require_id(identity, ms, what):
    require(
        re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", identity),
        f"{what}: {identity!r} is no UUIDv7",
    )
    require_equal(int(identity[:8] + identity[9:13], 16), ms, f"{what}: the time in {identity}")


def require_listed(got, want, what):
    """The same interactions, newest first, each whole."""
    require_equal(len(got), len(want), f"{what}: how many are listed")
    require_equal(len({i["id"] for i in got}), len(got), f"{what}: how many ids are different")
    for position, (interaction, line) in enumerate(zip(got, want)):
        where = f"{what}: number {position}"
        require_id(interaction["id"], line["ms"], where)
        require_interaction(interaction, line, where)


percentile_tolerance = Fraction(0)


def require_stats(got, want, what):
    for field, value in want.items():
        printed = got.get(field, 0)
        # An average or a percentile is a double and may be printed as 5 or as 5.0; a count is an integer.
        allowed = (int, Decimal) if isinstance(value, (Fraction, Decimal)) else (type(value),)
        require(type(printed) in allowed, f"{what}: {field} is printed as {shortened(printed)}")
        if isinstance(value, Fraction):
            off = abs(Fraction(printed) - value)
            require(off <= AVERAGE_TOLERANCE * value, f"{what}: {field} is {printed}, want {float(value)}")
        elif isinstance(value, Decimal):
            off = abs(Fraction(printed) - Fraction(value))
            require(off <= percentile_tolerance * Fraction(value), f"{what}: {field} is {printed}, want {value}")
        else:
            require_equal(printed, value, f"{what}: {field}")


def require_groups(got, groups, what):
    require_equal({g.get("key", "") for g in got}, set(groups), f"{what}: the keys")
    require_equal(len(got), len(groups), f"{what}: the number of groups")
    sizes = [group["stats"]["total_interactions"] for group in got]
    require_equal(sizes, sorted(sizes, reverse=True), f"{what}: the order of sizes")
    for group in got:
        key = group.get("key", "")
        require(not group.get("is_remainder", False), f"{what} {key!r}: is_remainder")
        require_stats(group["stats"], count(groups[key]), f"{what} {key!r}")


def require_answer(got, interactions):
    require_stats(got["totals"], count(interactions), "totals")
    for name, field in (("by_model", "model_used"), ("by_message_type", "message_type")):
        require_groups(got.get(name, []), grouped(interactions, lambda i: i[field]), name)
    handed = [i for i in interactions if i["handoff_triggered"]]
    require_groups(got.get("by_handoff_reason", []), grouped(handed, lambda i: i["handoff_reason"]), "by_handoff_reason")

    days = grouped(interactions, lambda i: rfc3339(i["ms"] // DAY_MS * DAY_MS))
    series = got.get("series", [])
    require_equal([point["start_time"] for point in series], sorted(days), "series: the days")
    for point in series:
        require_stats(point["stats"], count(days[point["start_time"]]), f"series {point['start_time']}")
    require_equal(got["start_time"], rfc3339(milliseconds(STATS_START)), "start_time")
    require_equal(got["end_time"], rfc3339(milliseconds(STATS_END)), "end_time")


# --- the checks


def filters(interactions):
    """Flags, and which interactions they select."""
    half = Decimal("0.7")
    intent = most_common(d["name"] for i in interactions for d in i["detected_intents"])
    reason = most_common(i["handoff_reason"] for i in interactions if i["handoff_reason"])
    conversation = most_common(i["conversation_id"] for i in interactions)
    yield ["--model", "gpt-4o"], lambda i: i["model_used"] == "gpt-4o"
    yield ["--model", "no-such-model"], lambda i: False
    yield ["--type", "text"], lambda i: i["message_type"] == "text"
    yield ["--handoff"], lambda i: i["handoff_triggered"]
    yield ["--no-handoff"], lambda i: not i["handoff_triggered"]
    yield ["--min-confidence", "0.7"], lambda i: i["confidence_score"] >= half
    yield ["--max-confidence", "0.7"], lambda i: i["confidence_score"] <= half
    if intent:
        yield ["--intent", intent], lambda i: any(d["name"] == intent for d in i["detected_intents"])
    if reason:
        yield ["--reason", reason], lambda i: i["handoff_reason"] == reason
    if conversation:
        yield ["--conversation", conversation], lambda i: i["conversation_id"] == conversation
    yield (
        ["--model", "gpt-4o", "--no-handoff", "--min-confidence", "0.7"],
        lambda i: i["model_used"] == "gpt-4o" and not i["handoff_triggered"] and i["confidence_score"] >= half,
    )


def most_common(values):
    ranked = Counter(values).most_common(1)
    return ranked[0][0] if ranked else None


def checks(parley, file, tenant, lines):
    """Each check's name and what it does, in the order they need."""
    listed = []

    def import_once():
        parley.run("import", file, "--only-tenant", tenant)
        listed[:] = parley.all()
        require_equal(len(listed), len(lines), "how many are listed")

    def import_again():
        parley.run("import", file, "--only-tenant", tenant)
        require_equal(sorted(i["id"] for i in parley.all()), sorted(i["id"] for i in listed), "the ids listed")

    def list_pages():
        sizes = [len(page) for page in parley.pages()]
        whole, rest = divmod(len(lines), PAGE_SIZE)
        require_equal(sizes, [PAGE_SIZE] * whole + [rest] * (rest > 0), "the sizes of the pages")

    def list_basic():
        silent = [{**line, "customer_message": "", "agent_response": ""} for line in lines]
        require_listed(parley.all(view="basic"), silent, "list --view basic")

    def get_sample():
        require(listed, "nothing is listed")
        for position in sorted({0, len(listed) - 1, *range(0, len(listed), 25)}):
            identity = listed[position]["id"]
            got = parley.json("get", identity)
            require_equal(got, listed[position], f"get {identity}")
            require_interaction(got, lines[position], f"get {identity}")

    yield "import", import_once
    yield "import again adds nothing", import_again
    yield "list: pages", list_pages
    yield "list", lambda: require_listed(listed, lines, "list")
    yield "list --view basic", list_basic
    yield "get", get_sample
    inside = [line for line in lines if milliseconds(STATS_START) <= line["ms"] < milliseconds(STATS_END)]
    yield "stats", lambda: require_answer(parley.stats(), inside)

    def list_filtered(flags, selects):
        require_listed(parley.all(*flags), list(filter(selects, lines)), "list")

    def stats_filtered(flags, selects):
        require_answer(parley.stats(*flags), list(filter(selects, inside)))

    for flags, selects in filters(lines):
        name = " ".join(flags)[:80]
        yield f"list {name}", partial(list_filtered, flags, selects)
        yield f"stats {name}", partial(stats_filtered, flags, selects)


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    binary, file, tenant = sys.argv[1:]
    lines = read_lines(file, tenant)
    if not lines:
        sys.exit(f"{file} has no line of tenant {tenant}")

    global percentile_tolerance
    percentile_tolerance = BUCKET_TOLERANCE if len(lines) > ROWS_MAX else Fraction(0)
    passed = failed = 0
    for name, check in checks(Parley(binary), file, tenant, lines):
        try:
            check()
        except Mismatch as mismatch:
            failed += 1
            print(f"FAIL {name}: {mismatch}")
        except (KeyError, TypeError, ValueError, AttributeError, subprocess.TimeoutExpired, OSError) as error:
            failed += 1
            print(f"FAIL {name}: not of the shape expected: {error!r}")
        else:
            passed += 1
            print(f"ok   {name}")
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
