"""What the command tells about itself."""

import re

from checks import Scenario, check, require, require_equal

COMMANDS = {
    "serve": [
        "--listen",
        "--data",
        "--database-url",
        "--jwt-secret-file",
        "--jwt-public-key-file",
        "--jwt-issuer",
        "--jwt-audience",
        "--jwt-leeway",
        "--connections",
        "--readers",
        "--socket-mode",
        "--reflection",
        "--grpc-max-age",
        "--grpc-max-idle",
        "--grpc-keepalive",
        "--log-level",
        "--config",
        "PARLEY_",
    ],
    "migrate": ["--database-url", "PARLEY_DATABASE_URL", "--plan", "--require"],
    "verify": ["--database-url", "PARLEY_DATABASE_URL", "--data", "--tenant", "--from", "--to", "--repair"],
    "token": ["--tenant", "--scope", "--ttl", "--jwt-secret-file", "--data", "--issuer", "--audience"],
    "record": [
        "--conversation",
        "--customer",
        "--agent",
        "--model",
        "--confidence",
        "--cost-usd",
        "--intent",
        "--id",
        "--request-id",
        "--created-at",
        "--address",
        "--token-file",
        "--json",
        "PARLEY_ADDRESS",
        "PARLEY_TOKEN",
    ],
    "get": ["<id>", "--address", "--json"],
    "list": [
        "--conversation",
        "--model",
        "--handoff",
        "--from",
        "--to",
        "--page-size",
        "--page-token",
        "--view",
        "--json",
    ],
    "stats": ["--interval", "--from", "--to", "--json"],
    "import": ["<file>", "--only-tenant", "created_at_ms", "estimated_cost_usd", "standard input", "--json"],
    "version": [],
}


class Usage(Scenario):
    @check
    def everyCommandHasHelp(self):
        for command, words in COMMANDS.items():
            for asked in ([command, "--help"], ["help", command], [command, "-h"]):
                ran = self.workshop.run(*asked).succeeded()
                require_equal(ran.err, "", f"standard error of {asked}")
                missing = [word for word in ["OVERVIEW:", f"USAGE: parley {command}", *words] if word not in ran.out]
                require(not missing, f"{' '.join(asked)} says nothing of {missing}")

    @check
    def everyOptionIsExplained(self):
        for command in COMMANDS:
            said = self.workshop.run(command, "--help").succeeded().out.split("OPTIONS:")[1]
            options = re.findall(r"^  (-\S.*?)(?:\s{2,}(\S.*))?$\n?(^ {10,}\S.*$)?", said, re.MULTILINE)
            silent = [name for name, beside, below in options if not beside and not below and " <" in name]
            silent = [name for name in silent if not re.search(r"> \S", name)]
            require(not silent, f"{command} does not explain {silent}")

    @check
    def helpTellsTheCommands(self):
        for asked in ([], ["--help"], ["help"]):
            said = self.workshop.run(*asked).succeeded().out
            missing = [command for command in COMMANDS if not re.search(f"^  {command} ", said, re.MULTILINE)]
            require(not missing, f"{asked} says nothing of {missing}")

    @check
    def helpFitsATerminal(self):
        for command in COMMANDS:
            said = self.workshop.run(command, "--help", env={"COLUMNS": 80}).succeeded().out
            wide = [row for row in said.splitlines() if len(row) > 80 and not row.startswith("USAGE:")]
            require(not wide, f"{command} has lines of over 80 characters: {wide}")

    @check
    def versionIsOne(self):
        version = self.workshop.run("version").succeeded().out
        require(re.fullmatch(r"parley \d+\.\d+\.\d+\S*\n", version), f"it says {version!r}")
        number = version.split()[1]
        require(number in self.workshop.run("--version").succeeded().out, "--version differs")
        out = self.workshop.shared_server().out
        require(out.startswith(f"parley {number} listens on "), f"serve says {out!r}")

    @check
    def wrongCommandsAreRefused(self):
        self.workshop.run("sreve").refused("sreve")
        self.workshop.run("version", "--nonsense").refused("--nonsense")
        self.workshop.run("get", "a", "b").refused("b")

    @check
    def environmentOfOthersIsLeftAlone(self):
        """Variables like ours that are none of ours, and empty ones, hurt nobody."""
        caller = self.workshop.shared_server().caller("environment")
        caller.run("list", env={"PARLEY": "x", "PARLEY_UNKNOWN": "x", "PARLEY_LISTEN": "nonsense"}).succeeded()


SCENARIOS = [Usage]
