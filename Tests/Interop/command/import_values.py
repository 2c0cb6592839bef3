"""`parley import`: the forms that lines and their values may have."""

import re

from checks import check, require, require_equal
from importing import SECOND, ImportScenario, line, lines_of


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
        caller.run("import", self.folder / "absent").refused(
            str(self.folder / "absent"), "cannot be read: no such file"
        )
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
    def linesOfAnotherTenantAreBadUnasked(self):
        """Unseen, they would become the token's tenant's."""
        caller = self._new_caller("unasked")
        own = f"{type(self).__name__} unasked"
        content = lines_of([line(1, tenant=own), line(2, tenant="zzz"), line(3), line(4, tenant=None)])
        report, ran = self._import(caller, "-", input=content)
        require_equal((report["imported"], report["bad"], ran.status), (3, 1, 1), "the counts")
        ran.says_plainly(f"line 2: tenant: is zzz, and the token is {own}'s", "--only-tenant")
        # The tenant is none of the content.
        again = lines_of([line(1), line(3, tenant=own)])
        require_equal(self._counts(caller, "-", input=again), (0, 2, 0, 0), "the counts again")


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


SCENARIOS = [LineForms, Values]
