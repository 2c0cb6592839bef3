"""`parley record`: by flags, and by JSON on standard input."""

import json
import os
import time

from checks import Scenario, check, require, require_equal
from ttrpc import new_id
from workshop import UNPRINTABLE

ANSI = "\x1b[2J\x1b]0;title\x07"


def full_interaction():
    """Every field, with values that are easily bent on their way."""
    return {
        "id": new_id(),
        "conversation_id": 'cönversation 1/2 "quoted" \\ \u2028',
        "customer_message": "line one\nline two\ttab \x1b[31m \u0001 \U0001f6eb e\u0301" + "x" * 60_000,
        "agent_response": "ß" * 32_768,
        "detected_intents": [{"name": "book_flight", "confidence": 0.1 + 0.2}, {"name": "a=b, c", "confidence": 1}]
        + [{"name": f"intent {number}", "confidence": number / 64} for number in range(62)],
        "model_used": "m" * 128,
        "context_size": 2**31 - 1,
        "processing_time_ms": 1234,
        "confidence_score": 0.123456789012345678,
        "handoff_triggered": True,
        "handoff_reason": "wünscht einen Menschen",
        "message_type": "a_20_bytes_long_type",
        "token_usage": {"prompt_tokens": 2**30, "completion_tokens": 2**30 - 1, "total_tokens": 2**31 - 1},
        "estimated_cost_nanos": 9_000_000_000_000_000,
    }


class RecordScenario(Scenario):
    def prepare(self):
        self.server = self.workshop.shared_server()
        self.caller = self.server.caller(type(self).__name__)

    def _record(self, text):
        return self.caller.run("record", input=text if isinstance(text, (bytes, str)) else json.dumps(text))


class RecordByFlags(RecordScenario):
    @check
    def flagsReachTheirFields(self):
        flags = {
            "--conversation": "c1",
            "--customer": "hello",
            "--agent": "hi",
            "--model": "m-1",
            "--confidence": "0.75",
            "--processing-ms": "120",
            "--context-size": "900",
            "--prompt-tokens": "30",
            "--completion-tokens": "12",
            "--cost-usd": "0.0042",
            "--reason": "asked",
            "--type": "voice",
            "--created-at": "2024-05-05T10:00:00.5+02:00",
        }
        words = [word for pair in flags.items() for word in pair]
        words += ["--handoff", "--intent", "refund=0.9", "--intent", "a=b=0.5"]
        recorded = self.caller.json("record", *words)
        require_equal(recorded["already_recorded"], False, "already_recorded")
        require_equal(recorded["created_at"], "2024-05-05T08:00:00.500Z", "created_at")
        kept = self.caller.get(recorded["interaction_id"])
        wanted = {
            "conversation_id": "c1",
            "customer_message": "hello",
            "agent_response": "hi",
            "model_used": "m-1",
            "confidence_score": 0.75,
            "processing_time_ms": 120,
            "context_size": 900,
            "estimated_cost_nanos": 4_200_000,
            "token_usage": {"prompt_tokens": 30, "completion_tokens": 12, "total_tokens": 42},
            "handoff_triggered": True,
            "handoff_reason": "asked",
            "message_type": "voice",
            "detected_intents": [{"name": "refund", "confidence": 0.9}, {"name": "a=b", "confidence": 0.5}],
            "created_at": "2024-05-05T08:00:00.500Z",
        }
        require_equal({name: kept[name] for name in wanted}, wanted, "what is kept")

    @check
    def conversationAloneSuffices(self):
        said = self.caller.run("record", "--conversation", "bare").succeeded().out
        require(said.startswith("recorded "), f"it says {said!r}")
        kept = self.caller.get(said.split()[1])
        require_equal((kept["conversation_id"], kept["message_type"]), ("bare", "text"), "what is kept")

    @check
    def ownIdIsKeptAndFindsItself(self):
        id = new_id()
        command = ["record", "--conversation", "own id", "--id", id]
        require_equal(self.caller.run(*command).succeeded().out, f"recorded {id}\n", "the first answer")
        require_equal(self.caller.run(*command).succeeded().out, f"already recorded {id}\n", "the second answer")
        other = self.caller.run("record", "--conversation", "other", "--id", id)
        other.refused("ALREADY_EXISTS", id, "other content")
        require_equal(self.caller.get(id)["conversation_id"], "own id", "what is kept")

    @check
    def requestIdFindsItself(self):
        command = ["record", "--conversation", "r", "--request-id", "mine", "--created-at", "2024-05-05"]
        first = self.caller.run(*command).succeeded().out.split()
        second = self.caller.run(*command).succeeded().out.split()
        require_equal(
            (first[0], second[:2], second[-1]), ("recorded", ["already", "recorded"], first[-1]), "the answers"
        )
        self.caller.run("record", "--conversation", "r", "--request-id", "mine").refused("created.at")

    @check
    def wrongFlagsAreRefused(self):
        for flag, value, *says in (
            ("--confidence", "1.5", "confidence", "1\\.5", "0 to 1"),
            ("--confidence", "nan", "confidence", "nan", "0 to 1"),
            ("--confidence", "high", "--confidence", "high"),
            ("--processing-ms", "soon", "--processing-ms", "soon"),
            ("--prompt-tokens", "2147483648", "--prompt-tokens", "2147483648"),
            ("--cost-usd", "1,5", "cost.usd", "1,5", "decimal"),
            ("--cost-usd", "0.0000000001", "cost.usd", "9 places"),
            ("--cost-usd", "9300000001", "--cost-usd 9300000001 is too large", "0 to 9000000 dollars"),
            ("--cost-usd", "9000000.000000001", "--cost-usd \\S+ is too large", "0 to 9000000 dollars"),
            ("--cost-usd", "-1", "--cost-usd -1 is no cost", "0 to 9000000 dollars"),
            ("--cost-usd", ".5", "--cost-usd .5 is no cost", "digits before the point"),
            ("--cost-usd", "", "--cost-usd .empty. is no cost"),
            ("--confidence", "-0.5", "confidence", "-0\\.5", "0 to 1"),
            ("--confidence", "high", "--confidence", "0 to 1"),
            ("--prompt-tokens", "99999999999", "--prompt-tokens", "0 to 2147483647"),
            ("--intent", "refund", "--intent", "refund", "NAME=CONFIDENCE"),
            ("--intent", "refund=2", "confidence", "2", "0 to 1"),
            ("--created-at", "yesterday", "created.at", "yesterday", "RFC 3339"),
            ("--created-at", "2024-05-05T10:00:00", "--created-at", "time zone is missing", "Z for UTC"),
            ("--created-at", "2100-01-01", "created_at", "\\d hours ahead", "24 hours"),
            ("--created-at", "1969-12-31", "created.at", "before 1970"),
            ("--created-at", "0001-01-01", "created.at", "before 1970"),
            ("--id", "17", "id", "17", "UUIDv7"),
            ("--id", "2b1d2c5a-7b6f-4b53-9a3e-0d6c3a0f6c11", "id", "2b1d2c5a", "UUIDv7"),
            ("--type", "Voice!", "message_type", "Voice!", "a-z"),
            ("--reason", "asked", "handoff_reason", "handoff"),
            ("--model", "m" * 129, "model_used", "129", "128"),
            ("--customer", "c" * 65_537, "customer_message", "65537", "65536"),
        ):
            self.caller.run("record", "--conversation", "c", flag, value).refused(*says)

    @check
    def textsMayBeginWithADash(self):
        flags = {"--conversation": "-c", "--customer": "-hello", "--agent": "--bye", "--model": "-m"}
        words = [word for pair in flags.items() for word in pair]
        recorded = self.caller.json("record", *words, "--intent", "-i=0.5", "--handoff", "--reason", "-r")
        kept = self.caller.get(recorded["interaction_id"])
        names = ("conversation_id", "customer_message", "agent_response", "model_used", "handoff_reason")
        require_equal([kept[name] for name in names], [*flags.values(), "-r"], "what is kept")
        found = self.caller.list("--conversation", "-c", "--model", "-m", "--reason", "-r", "--intent", "-i")
        require_equal([one["id"] for one in found], [kept["id"]], "what the filters find")

    @check
    def whatIsNotUTF8IsRefused(self):
        """Repaired, another text would be recorded than was given."""
        ran = self.caller.run("record", "--conversation", "bytes", "--customer", os.fsdecode(b"caf\xe9"))
        ran.refused("argument 5", "not UTF-8")
        require_equal(self.caller.list("--conversation", "bytes"), [], "what is kept")

    @check
    def negativeNumbersAreRefused(self):
        for flag, field in {"--processing-ms": "processing_time_ms", "--context-size": "context_size"}.items():
            self.caller.run("record", "--conversation", "c", f"{flag}=-1").refused(field, "-1", "negative")

    @check
    def emptyConversationIsRefused(self):
        self.caller.run("record", "--conversation", "").refused("conversation_id", "empty")

    @check
    def flagsWithoutAConversationAreNotDropped(self):
        """With JSON on standard input the other flags would be lost without a word."""
        given = json.dumps({"conversation_id": "c"})
        self.caller.run("record", "--customer", "hello").refused("--conversation")
        ran = self.caller.run("record", "--model", "lost", input=given)
        if ran.status == 0:
            kept = self.caller.get(ran.out.split()[-1])
            require_equal(kept["model_used"], "lost", "the model")
        else:
            ran.refused("--model|--conversation")


class RecordByJSON(RecordScenario):
    def prepare(self):
        super().prepare()
        self.interaction = full_interaction()

    @check
    def everyFieldMakesTheRoundTrip(self):
        recorded = self.caller.record(**self.interaction)
        require_equal(recorded["interaction_id"], self.interaction["id"], "the id")
        kept = self.caller.get(self.interaction["id"])
        for name, value in self.interaction.items():
            require_equal(kept[name], value, name)
        milliseconds = int(self.interaction["id"].replace("-", "")[:12], 16)
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(milliseconds // 1000))
        require_equal(kept["created_at"], f"{moment}.{milliseconds % 1000:03}Z", "created_at")
        unknown = set(kept) - set(self.interaction) - {"created_at", "updated_at"}
        require_equal(unknown, set(), "the fields besides")

    @check
    def whatGetPrintsRecordsItself(self):
        printed = self.caller.run("get", self.interaction["id"], "--json").succeeded().out
        again = self._record(printed).succeeded()
        require_equal(again.out, f"already recorded {self.interaction['id']}\n", "the answer")
        require_equal(self.caller.total(), 1, "the interactions")

    @check
    def changedContentIsRefused(self):
        for name, value in {"agent_response": "other", "confidence_score": 0.5, "estimated_cost_nanos": 0}.items():
            self._record(self.interaction | {name: value}).refused("ALREADY_EXISTS", self.interaction["id"])

    @check
    def unknownFieldsAreRefused(self):
        for name in ("conversationId", "costumer_message", "nope"):
            self._record({"conversation_id": "c", name: "x"}).refused("unknown", name)

    @check
    def unknownNestedFieldsAreRefused(self):
        usage = {"token_usage": {"prompt_tokens": 1, "cached_tokens": 2}}
        self._record({"conversation_id": "c"} | usage).refused("unknown", "cached_tokens")
        intents = {"detected_intents": [{"name": "x", "confidence": 1, "slot": "y"}]}
        self._record({"conversation_id": "c"} | intents).refused("unknown", "slot")

    @check
    def tenantIsLeftToTheToken(self):
        """A line of another tenant's file is not recorded as one's own."""
        for tenant in ("stranger", type(self).__name__):
            self._record({"conversation_id": "c", "tenant": tenant}).refused("tenant", "token")
        self._record({"conversation_id": "c", "tenant": None}).succeeded()

    @check
    def whatIsNotJSONIsRefused(self):
        for text in ("", "hello", '{"conversation_id": "c"', "{'conversation_id': 'c'}", '{"conversation_id": "c"} {}'):
            self._record(text).refused("standard input", "JSON")
        self._record(b'{"conversation_id": "\xff\xfe"}').refused("standard input", "JSON|UTF-8")

    @check
    def whatIsNoObjectIsRefused(self):
        for text in ("[]", '"text"', "17", "null", "[[1]]"):
            self._record(text).refused("standard input", "object")

    @check
    def wrongTypesAreRefusedByName(self):
        for name, value in {
            "conversation_id": 5,
            "customer_message": ["x"],
            "context_size": "many",
            "processing_time_ms": 1.5,
            "confidence_score": "high",
            "handoff_triggered": "yes",
            "detected_intents": {},
            "token_usage": 7,
            "estimated_cost_nanos": 0.5,
            "created_at": 17,
            "created_at_ms": "x",
            "prompt_tokens": True,
        }.items():
            self._record({"conversation_id": "c"} | {name: value}).refused("standard input", name)

    @check
    def numbersOutOfRangeAreRefusedByName(self):
        for name, value in {
            "context_size": 2**31,
            "prompt_tokens": -(2**31) - 1,
            "estimated_cost_nanos": 2**63,
            "created_at_ms": 10**30,
        }.items():
            self._record({"conversation_id": "c", name: value}).refused(name)

    @check
    def missingPartsAreNamed(self):
        self._record({"customer_message": "hello"}).refused("conversation_id", "required|missing")
        self._record({"conversation_id": "c", "detected_intents": [{"name": "x"}]}).refused("confidence", "missing")
        self._record({"conversation_id": "c", "detected_intents": [{"confidence": 1}]}).refused("name", "missing")

    @check
    def limitsAreTold(self):
        for name, value, *says in (
            ("conversation_id", "x" * 129, "129", "128"),
            ("customer_message", "ß" * 32_769, "65538", "65536"),
            ("agent_response", "x" * 65_537, "65537", "65536"),
            ("handoff_reason", "x" * 257, "257", "256"),
            ("message_type", "x" * 21, "a-z"),
            ("detected_intents", [{"name": "x", "confidence": 1}] * 65, "65", "64"),
            ("detected_intents", [{"name": "x" * 129, "confidence": 1}], "129", "128"),
            ("confidence_score", 1.0000001, "1\\.0000001", "0 to 1"),
            ("confidence_score", -0.1, "-0\\.1", "0 to 1"),
            ("estimated_cost_nanos", 9 * 10**15 + 1, "9000000000000001", "9000000000000000"),
            ("estimated_cost_nanos", -1, "-1", "0 to"),
            ("token_usage", {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 3}, "3", "2"),
            ("token_usage", {"prompt_tokens": -1}, "prompt_tokens", "-1"),
        ):
            record = {"conversation_id": "c", "handoff_triggered": name == "handoff_reason", name: value}
            self._record(record).refused(name, *says)

    @check
    def allThatIsWrongIsToldAtOnce(self):
        self._record({"conversation_id": "", "confidence_score": 2}).refused("conversation_id", "confidence_score")

    @check
    def zeroCharactersAreRefused(self):
        for name in ("conversation_id", "customer_message", "agent_response", "model_used"):
            self._record({"conversation_id": "c", name: "a\0b"}).refused(name, "NUL")

    @check
    def timeGivenTwiceMustAgree(self):
        agreeing = {
            "conversation_id": "t",
            "created_at": "2024-05-05T10:00:00.250+02:00",
            "created_at_ms": 1714896000250,
        }
        self._record(agreeing).succeeded()
        self._record(agreeing | {"created_at_ms": 1714896000251}).refused("created_at", "twice|differ")

    @check
    def timeMustAgreeWithTheId(self):
        self._record({"conversation_id": "t", "id": new_id(), "created_at_ms": 1}).refused("created_at", "agree")

    @check
    def costsGivenTwiceMustAgree(self):
        agreeing = {"conversation_id": "t", "estimated_cost_usd": "0.5", "estimated_cost_nanos": 500_000_000}
        self._record(agreeing).succeeded()
        self._record(agreeing | {"estimated_cost_nanos": 1}).refused("estimated_cost", "twice|differ")

    @check
    def refusalsDoNotMoveTheCursor(self):
        for record in (
            {"conversation_id": "c", "created_at": ANSI},
            {"conversation_id": "c", "estimated_cost_usd": ANSI},
            {"conversation_id": "c", "message_type": ANSI},
            {"conversation_id": "c", "id": ANSI},
            {"conversation_id": "c", ANSI: 1},
        ):
            ran = self._record(record).refused()
            require(not UNPRINTABLE.search(ran.err), f"raw controls reach the terminal: {ran.err!r}")


SCENARIOS = [RecordByJSON, RecordByFlags]
