"""`parley import`: files of JSON lines, good and bad, whole and broken off."""

import json
import re

from checks import Scenario, check, require, require_equal
from ttrpc import new_id
from workshop import UNPRINTABLE

SECOND = 1714896000000


def line(number, **more):
    """A good line, as no other number's is."""
    return {
        "conversation_id": f"c{number % 10}",
        "created_at_ms": SECOND + number,
        "customer_message": f"says {number}",
    } | more


def lines_of(interactions):
    return b"".join(one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n" for one in interactions)


class ImportScenario(Scenario):
    """Each check has a tenant of its own, and so an empty list."""

    def prepare(self):
        self.server = self.workshop.shared_server()

    def _new_caller(self, name):
        return self.server.caller(f"{type(self).__name__} {name}")

    def _write(self, name, content):
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else lines_of(content))
        return path

    def _import(self, caller, source, *flags, input=b""):
        ran = caller.run("import", source, "--json", *flags, input=input)
        require(ran.out, f"it was given up: {ran}")
        return json.loads(ran.out), ran

    def _counts(self, caller, source, *flags, input=b""):
        """How many were imported, already there, bad, and other tenants'."""
        report, _ = self._import(caller, source, *flags, input=input)
        return tuple(report[name] for name in ("imported", "already_recorded", "bad", "other_tenants"))


class ImportedTwice(ImportScenario):
    """An import finds what is there already."""

    @check
    def fileImportedTwiceAddsNothing(self):
        caller = self._new_caller("twice")
        path = self._write("twice", [line(number) for number in range(1200)])
        require_equal(self._counts(caller, path), (1200, 0, 0, 0), "the first counts")
        require_equal(self._counts(caller, path), (0, 1200, 0, 0), "the second counts")
        require_equal(caller.total(), 1200, "the interactions")

    @check
    def importSaysWhatItDid(self):
        caller = self._new_caller("says")
        ran = caller.run("import", self._write("says", [line(1), line(2)])).succeeded()
        require_equal(ran.out, "imported 2, already there 0, bad 0, other tenants' 0\n", "standard output")
        require_equal(ran.err, "", "standard error")

    @check
    def equalLinesAreAsManyInteractions(self):
        caller = self._new_caller("equal")
        path = self._write(
            "equal", [line(1), line(2), line(1), line(1)] + [line(number) for number in range(3, 1000)] + [line(1)]
        )
        require_equal(self._counts(caller, path), (1002, 0, 0, 0), "the first counts")
        require_equal(self._counts(caller, path), (0, 1002, 0, 0), "the second counts")
        same = [
            one
            for one in caller.everything("--conversation", "c1", "--view", "full")
            if one["customer_message"] == "says 1"
        ]
        require_equal(len({one["id"] for one in same}), 4, "the equal interactions")

    @check
    def orderAndSpellingOfFieldsDoNotMatter(self):
        caller = self._new_caller("spelling")
        spelled = b'{"conversation_id": "c", "created_at_ms": 1714896000000, "token_usage": {"prompt_tokens": 3}, '
        spelled += b'"estimated_cost_usd": "0.5"}'
        otherwise = b'{"estimated_cost_nanos":500000000,"prompt_tokens":3,"created_at":"2024-05-05T10:00:00+02:00",'
        otherwise += b'"conversation_id":"\\u0063"}'
        require_equal(self._counts(caller, "-", input=spelled), (1, 0, 0, 0), "the first's counts")
        require_equal(self._counts(caller, "-", input=otherwise), (0, 1, 0, 0), "the second's counts")

    @check
    def ownIdsAreKept(self):
        caller = self._new_caller("ids")
        id = new_id()
        one = {"id": id, "conversation_id": "c"}
        content = lines_of([one, one, one | {"conversation_id": "other"}])
        report, ran = self._import(caller, "-", input=content)
        require_equal((report["imported"], report["already_recorded"], report["bad"]), (1, 1, 1), "the counts")
        require("line 3:" in ran.err and id in ran.err, f"the other content is reported as {ran.err!r}")
        require_equal(caller.get(id)["conversation_id"], "c", "what is kept")

    @check
    def printedInteractionsImportBack(self):
        caller, other = self._new_caller("printed"), self._new_caller("printed back")
        self._counts(caller, "-", input=lines_of([line(number) for number in range(5)]))
        printed = caller.everything("--view", "full")
        require_equal(self._counts(other, "-", input=lines_of(printed)), (5, 0, 0, 0), "the counts")
        without_update = [{name: value for name, value in one.items() if name != "updated_at"} for one in printed]
        found = [
            {name: value for name, value in one.items() if name != "updated_at"}
            for one in other.everything("--view", "full")
        ]
        require_equal(found, without_update, "what is kept")


class BadLines(ImportScenario):
    """Bad lines are told by number and reason; the rest is imported."""

    BAD = [
        (b"not json\n", "JSON"),
        (b'{"conversation_id": "c", \n', "JSON"),
        (b'{"conversation_id": "c", "created_at_ms": 1} {"conversation_id": "c", "created_at_ms": 1}\n', "JSON"),
        (b"[1, 2]\n", "object"),
        (b"null\n", "object"),
        (b'"text"\n', "object"),
        (line(0, conversation_id=5), "conversation_id"),
        (line(0, context_size=1.5), "context_size"),
        (line(0, context_size=2**31), "context_size"),
        (line(0, confidence_score="high"), "confidence_score"),
        (line(0, detected_intents=[{"name": "x"}]), "confidence.*missing"),
        (line(0, detected_intents=["x"]), "detected_intents"),
        ({"conversation_id": "c"}, "created_at"),
        (line(0, created_at_ms=-1), "created_at"),
        (line(0, created_at_ms=None, created_at="2024-13-01T00:00:00Z"), "created_at.*2024-13-01"),
        (line(0, created_at_ms=4102444800000), "created_at.*24"),
        ({"created_at_ms": 1}, "conversation_id"),
        (line(0, conversation_id="x" * 129), "conversation_id.*129.*128"),
        (line(0, customer_message="x" * 65_537), "customer_message.*65537.*65536"),
        (line(0, message_type="Bad"), "message_type.*Bad"),
        (line(0, handoff_reason="asked"), "handoff_reason.*handoff_triggered"),
        (line(0, confidence_score=2), "confidence_score.*2.*0 to 1"),
        (line(0, prompt_tokens=1, total_tokens=3), "total_tokens.*3"),
        (line(0, estimated_cost_usd="0.0000000001"), "estimated_cost_usd.*9 places"),
        (line(0, estimated_cost_usd="9000000.000000001"), "cost.*too large"),
        (line(0, customer_message="a\0b"), "customer_message.*NUL"),
        (line(0, id="17"), "id.*17.*UUIDv7"),
        (b'{"conversation_id": "\xff\xfe", "created_at_ms": 1}\n', "JSON|UTF-8"),
        (b'{"conversation_id": "a\0b", "created_at_ms": 1}\n', "JSON|NUL"),
        (b"\0\0\0\0\n", "JSON|NUL"),
        (line(0, conversation_id="\x1b[2J", message_type="\x1b[2J\x1b]0;title\x07"), "message_type"),
    ]

    def prepare(self):
        super().prepare()
        self.caller = self._new_caller("bad")
        # A good line before each bad one; blank lines count, and are nothing else.
        self.numbers = {}
        content, number = [], 0
        for place, (bad, reason) in enumerate(self.BAD):
            content += [line(place), b"\n" if place % 2 else b" \t\r\n", bad]
            number += 3
            self.numbers[number] = reason
        self.path = self._write("bad", content)
        self.report, self.ran = self._import(self.caller, self.path)
        self.told = {
            int(match[1]): match[2] for match in re.finditer(r"^line (\d+): (.*)$", self.ran.err, re.MULTILINE)
        }

    @check
    def badLinesAreToldByNumber(self):
        require_equal(sorted(self.told), sorted(self.numbers), "the numbers of the bad lines")

    @check
    def badLinesAreToldWithTheirReason(self):
        wrong = {
            n: self.told.get(n) for n, reason in self.numbers.items() if not re.search(reason, self.told.get(n, ""))
        }
        wanted = {number: self.numbers[number] for number in wrong}
        require(not wrong, f"the reasons are {wrong}, want {wanted}")
        self.ran.says_plainly()

    @check
    def goodLinesAreImportedAllTheSame(self):
        require_equal(self.report["imported"], len(self.BAD), "imported")
        require_equal(self.report["bad"], len(self.BAD), "bad")
        require_equal(self.caller.total(), len(self.BAD), "the interactions")

    @check
    def badLinesMakeTheStatusOne(self):
        require_equal(self.ran.status, 1, "the status")
        ran = self.caller.run("import", self.path)
        require_equal((ran.status, ran.out.split(",")[0]), (1, "imported 0"), "the status and words of a second import")

    @check
    def badLinesDoNotMoveTheCursor(self):
        require(not UNPRINTABLE.search(self.ran.err), f"raw controls reach the terminal: {self.ran.err!r}")

    @check
    def unknownFieldsAreMentioned(self):
        caller = self._new_caller("unknown")
        content = lines_of([line(1, mood="fine", sentiment=1), line(2, mood="bad"), line(3) | {"\x1b[2J": 1}])
        report, ran = self._import(caller, "-", input=content)
        require_equal((report["imported"], ran.status), (3, 0), "the imported and the status")
        require("mood" in ran.err and "sentiment" in ran.err, f"it says {ran.err!r}")
        require_equal(ran.err.count("mood"), 1, "how often a field is mentioned")
        require(not UNPRINTABLE.search(ran.err), f"raw controls reach the terminal: {ran.err!r}")
        require({"mood", "sentiment"} <= set(report["unknown_fields"]), f"the report is {report}")

    @check
    def unknownNestedFieldsAreMentioned(self):
        report, ran = self._import(
            self._new_caller("nested"),
            "-",
            input=lines_of([line(1, token_usage={"prompt_tokens": 1, "cached_tokens": 2})]),
        )
        require_equal(report["imported"], 1, "the imported")
        require("cached_tokens" in ran.err, f"it says {ran.err!r}")


SCENARIOS = [BadLines, ImportedTwice]
