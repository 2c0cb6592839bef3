"""`parley get`, `list` and `stats`: for people and as JSON."""

import json
import re

from checks import Scenario, check, require, require_equal
from servers import EVER
from workshop import UNPRINTABLE

HOSTILE = "\x1b[2J\x1b]0;title\x07 red\x1b[31m\r\nnext\ttab\b\x7f\u009b31m \u202egnp.exe \u2028end"
COLUMNS = re.compile(r" {2,}")


def interactions():
    """A day's small business, half of it with hand-offs."""
    for number in range(30):
        yield {
            "conversation_id": f"conversation {number % 5}",
            "created_at_ms": 1714896000000 + number * 600_000,
            "customer_message": f"question {number}",
            "agent_response": f"answer {number}",
            "model_used": ("small", "large", "")[number % 3],
            "message_type": "voice" if number % 4 == 0 else "text",
            "confidence_score": number / 30,
            "processing_time_ms": 100 + number,
            "handoff_triggered": number % 2 == 0,
            "handoff_reason": "asked" if number % 6 == 0 else "",
            "detected_intents": [{"name": "refund", "confidence": 0.5}] if number % 7 == 0 else [],
            "prompt_tokens": 10 * number,
            "completion_tokens": number,
            "estimated_cost_nanos": 1_000_001 * number,
        }


class ReadScenario(Scenario):
    def prepare(self):
        self.server = self.workshop.shared_server()
        self.caller = self.server.caller(type(self).__name__)

    def _import(self, lines):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        self.caller.run("import", "-", input=text).succeeded()


class Reading(ReadScenario):
    def prepare(self):
        super().prepare()
        self.sent = list(interactions())
        self._import(self.sent)
        self.all = self.caller.everything()

    def _numbers(self, *filters):
        """Which of the interactions a list shows, by their times."""
        return [self._number(one) for one in self.caller.list(*filters)]

    def _number(self, interaction):
        hours, minutes = map(int, re.search(r"T(\d\d):(\d\d):", interaction["created_at"]).groups())
        return (hours * 60 + minutes - 8 * 60) // 10

    def _those(self, condition):
        return [number for number, sent in reversed(list(enumerate(self.sent))) if condition(number, sent)]

    @check
    def listIsNewestFirst(self):
        require_equal([self._number(one) for one in self.all], list(reversed(range(30))), "the order")

    @check
    def listFilters(self):
        for flags, condition in (
            (["--conversation", "conversation 2"], lambda n, one: n % 5 == 2),
            (["--model", "small"], lambda n, one: n % 3 == 0),
            (["--model", ""], lambda n, one: n % 3 == 2),
            (["--type", "voice"], lambda n, one: n % 4 == 0),
            (["--handoff"], lambda n, one: n % 2 == 0),
            (["--no-handoff"], lambda n, one: n % 2 == 1),
            (["--reason", "asked"], lambda n, one: n % 6 == 0),
            (["--min-confidence", "0.5"], lambda n, one: n >= 15),
            (["--max-confidence", "0.5"], lambda n, one: n <= 15),
            (["--intent", "refund"], lambda n, one: n % 7 == 0),
            (["--intent", "ref"], lambda n, one: False),
            (["--from", "2024-05-05T09:00:00Z"], lambda n, one: n >= 6),
            (["--from", "2024-05-05T11:00:00+02:00"], lambda n, one: n >= 6),
            (["--to", "2024-05-05T09:00:00Z"], lambda n, one: n < 6),
            (["--from", "2024-05-05", "--to", "2024-05-06"], lambda n, one: True),
            (["--from", "2024-05-06"], lambda n, one: False),
            (["--handoff", "--model", "large", "--min-confidence", "0.2"], lambda n, one: n % 6 == 4 and n >= 6),
        ):
            require_equal(self._numbers(*flags), self._those(condition), f"the list with {' '.join(flags)}")
            total = self.caller.json("stats", *flags, *self._ever(flags))["totals"]["total_interactions"]
            require_equal(total, len(self._those(condition)), f"the statistics' total with {' '.join(flags)}")

    def _ever(self, flags):
        return [word for flag, value in (EVER[:2], EVER[2:]) if flag not in flags for word in (flag, value)]

    @check
    def pagesGoOnToTheEnd(self):
        for size, filters in (("7", []), ("5", ["--handoff"]), ("30", []), ("1", ["--type", "voice"])):
            found, token, pages = [], [], 0
            while True:
                page = self.caller.json("list", "--page-size", size, *token, *filters)
                found += page["interactions"]
                pages += 1
                require(len(page["interactions"]) <= int(size), "a page is longer than asked")
                if not page["next_page_token"]:
                    break
                token = ["--page-token", page["next_page_token"]]
            wanted = self.caller.everything(*filters)
            require_equal([one["id"] for one in found], [one["id"] for one in wanted], "the ids of all pages")
            require(pages >= len(wanted) / int(size), f"{pages} pages of {size}")

    @check
    def tableTellsHowToGoOn(self):
        seen, token = [], []
        while True:
            lines = self.caller.run("list", "--page-size", "12", *token).succeeded().out.splitlines()
            more = re.fullmatch(r"more: --page-token (\S+)", lines[-1])
            seen += lines[1:-1] if more else lines[1:]
            if not more:
                break
            token = ["--page-token", more.group(1)]
        require_equal([COLUMNS.split(line)[1] for line in seen], [one["id"] for one in self.all], "the ids")

    @check
    def pageTokenIsOfItsList(self):
        token = self.caller.json("list", "--page-size", "5")["next_page_token"]
        self.caller.run("list", "--page-token", token, "--handoff").refused("PAGE_TOKEN_INVALID", "filter")
        stranger = self.server.caller("stranger-to-reading")
        stranger.run("list", "--page-token", token).refused("PAGE_TOKEN_INVALID")
        self.caller.run("list", "--page-token", "x").refused("PAGE_TOKEN_INVALID", "page.token")

    @check
    def listIsATable(self):
        lines = self.caller.run("list", "--conversation", "conversation 4").succeeded().out.splitlines()
        headings = ["CREATED", "ID", "CONVERSATION", "MODEL", "TYPE", "CONF", "MS", "TOKENS", "COST", "HAND-OFF"]
        require_equal(COLUMNS.split(lines[0].strip()), headings, "the headings")
        require_equal(len(lines), 1 + 6, "the lines")
        row = next(line for line in lines if "2024-05-05T12:00:00.000Z" in line)
        wanted = ["conversation 4", "small", "voice", "0.8", "124", "264", "$0.024000024", "yes: asked"]
        require_equal(COLUMNS.split(row.strip())[2:], wanted, "the row of the 24th")
        require_equal(len({line.index("yes") for line in lines if "yes" in line}), 1, "where the last column begins")

    @check
    def listShowsTextsOnlyInFull(self):
        require("question 3" not in self.caller.run("list").succeeded().out, "the table shows texts unasked")
        full = self.caller.run("list", "--view", "full").succeeded().out
        require("question 3" in full and "answer 3" in full and "CUSTOMER" in full, "the full table shows no texts")
        require("customer_message" not in self.caller.list()[0], "the JSON holds texts unasked")
        require_equal(self.caller.list("--view", "full")[0]["agent_response"], "answer 29", "the newest answer")

    @check
    def listOfNothingSaysSo(self):
        require_equal(self.caller.run("list", "--model", "none").succeeded().out, "no interactions\n", "the table")
        page = self.caller.json("list", "--model", "none")
        require_equal(page, {"interactions": [], "next_page_token": ""}, "the JSON")

    @check
    def wrongFiltersAreRefused(self):
        for flags, *says in (
            (["--page-size=-1"], "page.size", "-1|negative"),
            (["--page-size", "many"], "--page-size", "many"),
            (["--min-confidence", "1.1"], "min.confidence", "1\\.1", "0 to 1"),
            (["--min-confidence", "nan"], "min.confidence", "nan", "0 to 1"),
            (["--from", "tomorrow"], "--from", "tomorrow", "RFC 3339"),
            (["--from", "2024-02-30"], "--from", "2024-02-30"),
            (["--from", "2024-05-06", "--to", "2024-05-05"], "--from", "--to", "after"),
            (["--from", "2024-05-06T10:00:00"], "--from", "time zone is missing", "Z for UTC"),
            (["--page-size", "-1"], "page.size", "negative"),
            (["--max-confidence", "-0.5"], "max.confidence", "-0\\.5", "0 to 1"),
            (["--view", "all"], "--view", "all", "full"),
            (["--type", "Nonsense!"], "message_type|--type", "Nonsense!"),
        ):
            self.caller.run("list", *flags).refused(*says)

    @check
    def largePagesAreCutTo200(self):
        require_equal(len(self.caller.list("--page-size", "100000")), 30, "the interactions")

    @check
    def getShowsAll(self):
        one = next(one for one in self.all if self._number(one) == 24)
        shown = dict(
            re.split(r" {2,}", line, maxsplit=1)
            for line in self.caller.run("get", one["id"]).succeeded().out.splitlines()
        )
        wanted = {
            "id": one["id"],
            "created": "2024-05-05T12:00:00.000Z",
            "conversation": "conversation 4",
            "customer": "question 24",
            "agent": "answer 24",
            "intents": "none",
            "model": "small",
            "type": "voice",
            "confidence": "0.8",
            "hand-off": "yes: asked",
            "took": "124 ms",
            "tokens": "240 + 24 = 264",
            "cost": "$0.024000024",
            "context": "0 tokens",
            "updated": one["updated_at"],
        }
        require_equal(shown, wanted, "what get shows")

    @check
    def absentIdIsTold(self):
        self.caller.run("get", "0190ea6e-4b1c-7000-8000-000000000000").refused("NOT_FOUND", "0190ea6e-4b1c")
        self.caller.run("get", "17").refused("17", "UUIDv7")
        self.caller.run("get").refused("<id>")


class Statistics(Reading):
    """The same numbers, counted here."""

    @check
    def statisticsAreExact(self):
        totals = self.caller.json("stats", *EVER)["totals"]
        wanted = {
            "total_interactions": 30,
            "total_cost_nanos": 1_000_001 * 435,
            "handoff_count": 15,
            "handoff_rate": 0.5,
            "prompt_tokens": 4350,
            "completion_tokens": 435,
            "total_tokens": 4785,
            "avg_tokens": 159.5,
            "avg_processing_time_ms": 114.5,
            "p50_processing_time_ms": 114,
            "p95_processing_time_ms": 128,
            "p99_processing_time_ms": 129,
            "high_confidence_count": 9,
            "low_confidence_count": 21,
            "confidence_histogram": [3] * 10,
        }
        require_equal({name: totals[name] for name in wanted}, wanted, "the totals")
        require(abs(totals["avg_confidence"] - 14.5 / 30) < 1e-6, f"avg_confidence is {totals['avg_confidence']}")

    @check
    def statisticsAreATable(self):
        lines = self.caller.run("stats", *EVER).succeeded().out.splitlines()
        require_equal(lines[0], "from 2000-01-01T00:00:00.000Z to 2100-01-01T00:00:00.000Z", "the first line")
        headings = [
            "COUNT",
            "COST",
            "CONFIDENCE",
            "HIGH",
            "LOW",
            "HAND-OFFS",
            "RATE",
            "AVG MS",
            "P50",
            "P95",
            "P99",
            "TOKENS",
        ]
        require_equal(COLUMNS.split(lines[2].strip()), headings, "the headings")
        rows = {cells[0]: cells[1:] for cells in (COLUMNS.split(line) for line in lines[3:]) if len(cells) == 13}
        wanted = ["30", "$0.435000435", "0.4833", "9", "21", "15", "50.0%", "114.5", "114", "128", "129", "4785"]
        require_equal(rows["all"], wanted, "the row of all")
        require_equal(
            {label: cells[0] for label, cells in rows.items() if label != "all"},
            {
                "model small": "10",
                "model large": "10",
                "model (none)": "10",
                "type text": "22",
                "type voice": "8",
                "hand-off: (none)": "10",
                "hand-off: asked": "5",
            },
            "the counts of the groups",
        )

    @check
    def statisticsHaveASeries(self):
        series = self.caller.json("stats", *EVER[:2], "--to", "2024-12-31", "--interval", "day")["series"]
        require_equal(
            [(one["start_time"], one["stats"]["total_interactions"]) for one in series],
            [("2024-05-05T00:00:00.000Z", 30)],
            "the days",
        )
        day = ["--from", "2024-05-05", "--to", "2024-05-06", "--interval", "hour"]
        hours = self.caller.json("stats", *day)["series"]
        require_equal([one["stats"]["total_interactions"] for one in hours], [6] * 5, "the hours' counts")
        shown = self.caller.run("stats", *day).succeeded().out
        require("2024-05-05T08:00:00.000Z" in shown, "the table has no series")

    @check
    def statisticsTellTheirRange(self):
        report = self.caller.json("stats")
        require(report["start_time"] < report["end_time"], "the default range is empty")
        require_equal(report["totals"]["total_interactions"], 0, "the last 30 days' total")

    @check
    def wrongIntervalIsRefused(self):
        self.caller.run("stats", "--interval", "week").refused("--interval", "week", "hour", "day")


class HostileTexts(ReadScenario):
    """What customers write must not take over the terminal of who reads it."""

    def prepare(self):
        super().prepare()
        self._import(
            [
                {
                    "conversation_id": HOSTILE,
                    "created_at_ms": 1714896000000,
                    "customer_message": HOSTILE,
                    "agent_response": HOSTILE,
                    "model_used": HOSTILE,
                    "handoff_triggered": True,
                    "handoff_reason": HOSTILE,
                    "detected_intents": [{"name": HOSTILE, "confidence": 1}],
                }
            ]
        )
        self.id = self.caller.list()[0]["id"]

    def _is_harmless(self, *command):
        out = self.caller.run(*command).succeeded().out
        require("red" in out, f"the text is not shown at all: {out!r}")
        require(not UNPRINTABLE.search(out), f"raw controls reach the terminal: {out!r}")
        return out

    @check
    def getShowsHostileTextsHarmless(self):
        lines = self._is_harmless("get", self.id).splitlines()
        require_equal(len(lines), 15, "the lines: a text must not make lines of its own")

    @check
    def listShowsHostileTextsHarmless(self):
        for view in ("basic", "full"):
            require_equal(len(self._is_harmless("list", "--view", view).splitlines()), 2, "the lines of the table")

    @check
    def statsShowHostileTextsHarmless(self):
        self._is_harmless("stats", *EVER)

    @check
    def hostileTextsAreKeptAsTheyWere(self):
        kept = self.caller.get(self.id)
        for name in ("conversation_id", "customer_message", "agent_response", "model_used", "handoff_reason"):
            require_equal(kept[name], HOSTILE, name)

    @check
    def jsonHoldsNoRawEscapes(self):
        out = self.caller.run("get", self.id, "--json").succeeded().out
        require(not re.search("[\x00-\x09\x0b-\x1f]", out), "raw escapes are in the JSON")


SCENARIOS = [Reading, Statistics, HostileTexts]
