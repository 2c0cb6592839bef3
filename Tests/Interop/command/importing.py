"""`parley import`: files of JSON lines, good and bad, whole and broken off."""

import json
import re
import signal
import subprocess
import threading
import time

from checks import Scenario, check, eventually, require, require_equal
from ttrpc import new_id
from workshop import UNPRINTABLE, Server

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
        (line(0, estimated_cost_usd="9000000.000000001"), "cost.*9000000000000001"),
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


class LineForms(ImportScenario):
    """Lines as editors and other systems write them."""

    @check
    def lastLineNeedsNoNewline(self):
        caller = self._new_caller("newline")
        path = self._write("newline", lines_of([line(1), line(2)]).rstrip(b"\n"))
        require_equal(self._counts(caller, path), (2, 0, 0, 0), "the counts")

    @check
    def windowsLineEndsAreTaken(self):
        caller = self._new_caller("crlf")
        content = lines_of([line(1), line(2)])
        require_equal(self._counts(caller, "-", input=content.replace(b"\n", b"\r\n")), (2, 0, 0, 0), "the counts")
        require_equal(self._counts(caller, "-", input=content), (0, 2, 0, 0), "the counts with the others")

    @check
    def byteOrderMarkIsTaken(self):
        caller = self._new_caller("bom")
        require_equal(
            self._counts(caller, "-", input=b"\xef\xbb\xbf" + lines_of([line(1)])), (1, 0, 0, 0), "the counts"
        )

    @check
    def emptyFileIsNothing(self):
        caller = self._new_caller("empty")
        for name, content in {"empty": b"", "blank": b"\n\n  \n\t\n"}.items():
            require_equal(
                self._counts(caller, self._write(name, content)), (0, 0, 0, 0), f"the counts of a file {name}"
            )

    @check
    def absentFileIsRefused(self):
        caller = self._new_caller("absent")
        caller.run("import", self.folder / "absent").refused(str(self.folder / "absent"), "cannot be read: no such file")
        caller.run("import", self.folder).refused(str(self.folder), "read|directory|folder")
        caller.run("import").refused("<file>")

    @check
    def veryLongLineIsBadAndNoMore(self):
        caller = self._new_caller("long")
        for megabytes in (1, 5, 30):
            long = line(0, customer_message="x" * (megabytes << 20))
            path = self._write("long", [line(megabytes), long, line(megabytes + 1000)])
            report, ran = self._import(caller, path)
            require_equal(
                (report["imported"], report["bad"], ran.status), (2, 1, 1), f"the counts around {megabytes} MB"
            )
            require("line 2:" in ran.err and "65536" in ran.err, f"it says {ran.err[:300]!r}")

    @check
    def manyLargeLinesAreTaken(self):
        # 16 MB of texts as long as may be, which no batch may be full of.
        caller = self._new_caller("large")
        large = [line(number, customer_message="c" * 65_536, agent_response="ß" * 32_768) for number in range(120)]
        require_equal(self._counts(caller, self._write("large", large)), (120, 0, 0, 0), "the counts")
        require_equal(caller.total(), 120, "the interactions")

    @check
    def onlyOneTenantsLinesAreTaken(self):
        caller = self._new_caller("one")
        content = [
            line(1, tenant="a"),
            line(2, tenant="b"),
            line(3),
            line(4, tenant="a"),
            line(5, tenant="A"),
            b"not json\n",
        ]
        counts = self._counts(caller, self._write("tenants", content), "--only-tenant", "a")
        require_equal(counts, (2, 0, 1, 3), "the counts")
        texts = {one["customer_message"] for one in caller.everything("--view", "full")}
        require_equal(texts, {"says 1", "says 4"}, "what is kept")

    @check
    def tenantsAreIgnoredUnasked(self):
        caller = self._new_caller("unasked")
        content = lines_of([line(1, tenant="a"), line(2, tenant="b")])
        require_equal(self._counts(caller, "-", input=content), (2, 0, 0, 0), "the counts")
        # The tenant is none of the content.
        require_equal(
            self._counts(caller, "-", input=lines_of([line(1), line(2, tenant="z")])), (0, 2, 0, 0), "the counts again"
        )


class Values(ImportScenario):
    """Times, token counts and costs, in every form they may have."""

    def _kept(self, caller, *interactions):
        report, ran = self._import(caller, "-", input=lines_of(interactions))
        require_equal(report["imported"], len(interactions), f"the imported ({ran.err})")
        return {one["conversation_id"]: one for one in caller.everything()}

    def _refused(self, caller, reason, *interactions):
        _, ran = self._import(caller, "-", input=lines_of(interactions))
        told = dict(re.findall(r"^line (\d+): (.*)$", ran.err, re.MULTILINE))
        taken = [one for number, one in enumerate(interactions, 1) if not re.search(reason, told.get(str(number), ""))]
        require(not taken, f"not refused by /{reason}/ are {taken}")

    @check
    def timesAreTakenInEveryForm(self):
        caller = self._new_caller("times")
        times = {
            "2024-05-05T08:00:00Z": "2024-05-05T08:00:00.000Z",
            "2024-05-05T10:00:00+02:00": "2024-05-05T08:00:00.000Z",
            "2024-05-05T02:30:00-05:30": "2024-05-05T08:00:00.000Z",
            "2024-05-05T08:00:00.1Z": "2024-05-05T08:00:00.100Z",
            "2024-05-05T08:00:00.123456789Z": "2024-05-05T08:00:00.123Z",
            "2024-05-05T08:00:00.9999Z": "2024-05-05T08:00:00.999Z",
            "2024-05-05T10:00:00.250+02:00": "2024-05-05T08:00:00.250Z",
            "2024-05-05T08:00:00+00:00": "2024-05-05T08:00:00.000Z",
            "2024-02-29T23:59:59.999Z": "2024-02-29T23:59:59.999Z",
            "1970-01-01T00:00:00Z": "1970-01-01T00:00:00.000Z",
            "2024-05-05t08:00:00z": "2024-05-05T08:00:00.000Z",
        }
        kept = self._kept(caller, *({"conversation_id": text, "created_at": text} for text in times))
        require_equal({text: kept[text]["created_at"] for text in times}, times, "the times")

    @check
    def everyMillisecondIsKept(self):
        caller = self._new_caller("milliseconds")
        sent = [{"conversation_id": f"{ms}", "created_at": f"2031-10-31T23:59:59.{ms:03}+14:00"} for ms in range(1000)]
        # Not ahead of the clock, whatever it says.
        sent = [one | {"created_at": one["created_at"].replace("2031", "2023")} for one in sent]
        kept = self._kept(caller, *sent)
        wrong = [ms for ms in range(1000) if kept[f"{ms}"]["created_at"] != f"2023-10-31T09:59:59.{ms:03}Z"]
        require_equal(wrong, [], "the milliseconds that changed")

    @check
    def wholeNumbersMayBeTexts(self):
        """As every official writer of protobuf's JSON prints those of 64 bits."""
        caller = self._new_caller("texts")
        numbers = {"estimated_cost_nanos": 9 * 10**15, "created_at_ms": SECOND, "prompt_tokens": 2**31 - 1}
        texts = {name: str(value) for name, value in numbers.items()}
        report, ran = self._import(caller, "-", input=lines_of([{"conversation_id": "c"} | texts]))
        require_equal(report["imported"], 1, f"the imported ({ran.err})")
        report, ran = self._import(caller, "-", input=lines_of([{"conversation_id": "c"} | numbers]))
        require_equal(report["already_recorded"], 1, f"those there already ({ran.err})")
        for text in ("", "-", "1.0", "1e3", " 1", "+1", "0x1", "9223372036854775808", "٣"):
            self._refused(caller, "estimated_cost_nanos: is not a whole number", line(1, estimated_cost_nanos=text))

    @check
    def bothFormsOfATimeAreOne(self):
        caller = self._new_caller("forms")
        both = {"conversation_id": "c", "created_at": "2024-05-05T08:00:00.007Z"}
        require_equal(self._counts(caller, "-", input=lines_of([both])), (1, 0, 0, 0), "the counts")
        milliseconds = {"conversation_id": "c", "created_at_ms": SECOND + 7}
        require_equal(
            self._counts(caller, "-", input=lines_of([milliseconds])), (0, 1, 0, 0), "the counts in milliseconds"
        )
        require_equal(
            self._counts(caller, "-", input=lines_of([both | milliseconds])), (0, 1, 0, 0), "the counts of both"
        )
        self._refused(caller, "created_at.*twice|differ", both | {"created_at_ms": SECOND})

    @check
    def wrongTimesAreRefused(self):
        texts = (
            "yesterday",
            "",
            "2024-05-05",
            "2024-05-05T08:00:00",
            "2024-05-05T08:00Z",
            "2024-02-30T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2024-05-05T24:00:00Z",
            "2024-05-05T08:60:00Z",
            "2024-05-05T08:00:00+25:00",
            "2024-05-05T08:00:00Zjunk",
            "2024-5-5T08:00:00Z",
            "2024-05-05T08:00:00+0200",
            " 2024-05-05T08:00:00Z",
            "20240505T080000Z",
            "2024-05-05T08:00:00.Z",
            "1714896000",
        )
        self._refused(
            self._new_caller("wrong times"),
            "created_at",
            *({"conversation_id": text, "created_at": text} for text in texts),
        )

    @check
    def tokensAreTakenFlatOrNested(self):
        caller = self._new_caller("tokens")
        kept = self._kept(
            caller,
            line(1, conversation_id="flat", prompt_tokens=3, completion_tokens=4),
            line(2, conversation_id="nested", token_usage={"prompt_tokens": 3, "completion_tokens": 4}),
            line(
                3,
                conversation_id="with total",
                token_usage={"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
            ),
            line(4, conversation_id="mixed", prompt_tokens=3, token_usage={"completion_tokens": 4}),
            line(5, conversation_id="twice", prompt_tokens=3, token_usage={"prompt_tokens": 3, "completion_tokens": 4}),
            line(6, conversation_id="null", prompt_tokens=3, completion_tokens=4, token_usage=None),
        )
        usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
        require_equal([one["token_usage"] for one in kept.values()], [usage] * 6, "the token counts")
        self._refused(caller, "prompt_tokens.*twice", line(7, prompt_tokens=3, token_usage={"prompt_tokens": 4}))

    @check
    def costsAreExact(self):
        caller = self._new_caller("costs")
        costs = {
            "0.000000001": 1,
            "0.1": 100_000_000,
            "0.3": 300_000_000,
            "1": 10**9,
            "0": 0,
            "0.000": 0,
            "1234567.890123456": 1_234_567_890_123_456,
            "9000000": 9 * 10**15,
            "8999999.999999999": 9 * 10**15 - 1,
            "000.5": 500_000_000,
            "2.675": 2_675_000_000,
            "0.004125000": 4_125_000,
        }
        kept = self._kept(
            caller, *(line(n, conversation_id=usd, estimated_cost_usd=usd) for n, usd in enumerate(costs))
        )
        require_equal({usd: kept[usd]["estimated_cost_nanos"] for usd in costs}, costs, "the costs")
        total = caller.json("stats", "--from", "2024-05-05", "--to", "2024-05-06")["totals"]["total_cost_nanos"]
        require_equal(total, sum(costs.values()), "the total cost")

    @check
    def wrongCostsAreRefused(self):
        texts = [
            "0.0000000001",
            "0.1000000000",
            "-0.1",
            "+1",
            "1e-3",
            ".5",
            "1.",
            "1,5",
            "$1",
            "",
            " 1",
            "٣",
            "0x10",
            "1.2.3",
            "nan",
            "9" * 30,
        ]
        self._refused(
            self._new_caller("wrong costs"),
            "estimated_cost_usd",
            *(line(n, estimated_cost_usd=usd) for n, usd in enumerate(texts)),
        )
        self._refused(
            self._new_caller("wrong costs"), "estimated_cost", line(99, estimated_cost_usd="1", estimated_cost_nanos=1)
        )


class BrokenOff(ImportScenario):
    """Imports that are killed, and servers that are killed under them."""

    def prepare(self):
        self.secret = self.workshop.new_secret(self.folder)
        url = self.workshop.shared_postgres().new_database("broken")
        flags = ["--database-url", url, "--jwt-secret-file", self.secret]
        self.server = Server(self.workshop, self.folder, *flags, secret=self.secret, keep_data=False).start()

    def finish(self):
        self.server.end()

    def _feed(self, caller, content, **options):
        """An import whose standard input is ours, with so much of it written."""
        child = caller.popen(
            "import", "-", "--json", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        child.stdin.write(content)
        child.stdin.flush()
        return child

    @check
    def killedImportIsTakenUpAgain(self):
        caller = self._new_caller("killed")
        content = [line(number % 2700) for number in range(3000)]
        child = self._feed(caller, lines_of(content[:2000]))
        eventually(lambda: caller.total() >= 500, "a good part is imported")
        child.kill()
        child.communicate()
        there = caller.total()
        require(0 < there < 3000, f"{there} were there when it was killed")
        report, _ = self._import(caller, self._write("killed", content))
        require_equal((report["imported"], report["already_recorded"]), (3000 - there, there), "the counts of the rest")
        require_equal(caller.total(), 3000, "the interactions")
        require_equal(len({one["id"] for one in caller.everything()}), 3000, "the different ids")

    @check
    def importOutlivesItsServer(self):
        caller = self._new_caller("outlives")
        content = [line(number) for number in range(4000)]
        child = self._feed(caller, lines_of(content[:2000]))
        eventually(lambda: caller.total() >= 500, "some are imported")
        self.server.kill()
        feeding = threading.Thread(target=self._finish_feeding, args=(child, lines_of(content[2000:])))
        feeding.start()
        time.sleep(0.5)
        self.server._listen = self.server.addresses
        self.server.start()
        feeding.join(60)
        out, err = child.stdout.read(), child.stderr.read()
        require_equal(child.wait(60), 0, f"the status ({err.decode()})")
        report = json.loads(out)
        require_equal(report["imported"] + report["already_recorded"], 4000, "imported and already there together")
        require_equal(caller.total(), 4000, "the interactions")

    def _finish_feeding(self, child, content):
        child.stdin.write(content)
        child.stdin.close()

    @check
    def importWithoutItsScopeEnds(self):
        token = self.server.token("reader", "--scope", "analytics:view")
        path = self._write("scope", [line(number) for number in range(3000)])
        ran = self.workshop.run("import", path, env={"PARLEY_ADDRESS": self.server.addresses[0], "PARLEY_TOKEN": token})
        ran.refused("PERMISSION_DENIED", "interactions:record")

    @check
    def interruptedImportSaysHowFarItCame(self):
        for with_signal in (signal.SIGINT, signal.SIGTERM):
            caller = self._new_caller(f"interrupted {with_signal}")
            content = lines_of([line(number) for number in range(1000)])
            child = self._feed(caller, content)
            eventually(lambda: caller.total() >= 500, "some are imported")
            child.send_signal(with_signal)
            out, err = child.communicate(timeout=60)
            require_equal(child.returncode, 128 + with_signal, "the status")
            require_equal(out, b"", "standard output")
            told = re.fullmatch(
                rb"interrupted: of (\d+) lines read, (\d+) were imported, 0 were already there, 0 were bad and (\d+) may"
                rb" have been imported; import the same lines again to go on: nothing is added twice\n",
                err,
            )
            require(told, f"it says {err!r}")
            read, imported, perhaps = map(int, told.groups())
            require(imported + perhaps == read <= 1000, f"it says {err!r}")
            require(imported <= caller.total() <= read, f"{caller.total()} are there, it says {err!r}")
            report, _ = self._import(caller, "-", input=content)
            require_equal(report["imported"] + report["already_recorded"], 1000, "the lines imported again")
            require_equal(caller.total(), 1000, "the interactions")

    @check
    def importThatIsBrokenOffSaysHowFarItCame(self):
        token = self.server.token("reader", "--scope", "analytics:view")
        path = self._write("refused", [line(number) for number in range(10)])
        env = {"PARLEY_ADDRESS": self.server.addresses[0], "PARLEY_TOKEN": token}
        ran = self.workshop.run("import", path, env=env)
        ran.refused("PERMISSION_DENIED", "broken off: of 10 lines read, 0 were imported")

    @check
    def terminalShowsProgress(self):
        caller = self._new_caller("terminal")
        path = self._write("terminal", [line(number, agent_response="x" * 500) for number in range(4500)])
        shown, status = self._import_on_a_terminal(caller, path)
        require_equal(status, 0, f"the status ({shown[-300:]!r})")
        bars = re.findall(r"\r\x1b\[K\[(#*)(\.*)\] (\d+)%", shown)
        require(bars, f"no bar was shown: {shown[:300]!r}")
        require_equal({len(done) + len(rest) for done, rest, _ in bars}, {40}, "the bar's length")
        shares = [int(share) for _, _, share in bars]
        require(shares == sorted(shares) and 0 <= shares[0] <= shares[-1] <= 100, f"the shares are {shares}")
        require(shown.endswith("\r\x1b[K"), f"the bar is not cleared at the end: {shown[-60:]!r}")

    @check
    def badLineOnATerminalHasALineOfItsOwn(self):
        caller = self._new_caller("terminal bad")
        content = [line(number, agent_response="x" * 500) for number in range(4500)]
        content[3500] = b"not json\n"
        shown, status = self._import_on_a_terminal(caller, self._write("terminal bad", content))
        require_equal(status, 1, "the status")
        row = next(row for row in shown.split("\n") if "line 3501" in row)
        require(re.search("(^|\r|\x1b\\[K)line 3501:", row), f"a bar stays before the bad line: {row!r}")

    @check
    def pipeShowsNoProgress(self):
        caller = self._new_caller("pipe")
        path = self._write("pipe", [line(number, agent_response="x" * 500) for number in range(4500)])
        child = caller.popen("import", path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._hold_the_server()
        out, err = child.communicate(timeout=60)
        require_equal(child.returncode, 0, f"the status ({err})")
        require_equal(err, b"", "standard error")
        require(b"\r" not in out and b"\x1b" not in out, f"standard output is {out!r}")

    def _hold_the_server(self):
        """So long that a bar has to be shown, however fast the machine is."""
        self.server.process.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        self.server.process.send_signal(signal.SIGCONT)

    def _import_on_a_terminal(self, caller, path):
        """- Returns: all that standard error showed, and the status."""
        child, shown = caller.on_terminal("import", path)
        holding = threading.Thread(target=self._hold_the_server)
        holding.start()
        text = shown()
        holding.join()
        return text, child.wait(60)


SCENARIOS = [BrokenOff, LineForms, Values, BadLines, ImportedTwice]
