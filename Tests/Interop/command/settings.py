"""What a server is told: flags over the environment over a file, and what it says to wrong values."""

import json

from checks import Scenario, check, require, require_equal
from processes import listens
from servers import Server

# Given these, a start gets as far as looking at every other value, and no further.
NO_DATABASE = ["--database-url", "host=/nowhere dbname=x user=x"]


class SettingsScenario(Scenario):
    def prepare(self):
        self.secret = self.workshop.new_secret(self.folder)

    def _config(self, content):
        path = self.workshop.new_folder("config") / "config.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path


class Precedence(SettingsScenario):
    """Flag over environment over file."""

    def prepare(self):
        super().prepare()
        self.url = self.workshop.shared_postgres().new_database("settings")

    def _serve(self, *flags, env=None, config=None, listen=()):
        flags = ["--database-url", self.url, "--jwt-secret-file", self.secret, *flags]
        if config is not None:
            flags += ["--config", self._config(config)]
        server = Server(
            self.workshop, self.folder, *flags, listen=list(listen), env=env, secret=self.secret, keep_data=False
        )
        try:
            server.start()
            server.caller("acme").run("list").succeeded()
            server.stop()
        finally:
            server.end()
        return server

    def _socket(self, name):
        return f"unix:{self.folder}/{name}"

    @check
    def fileSaysWhereToListen(self):
        server = self._serve(config={"listen": [self._socket("file"), self._socket("file2")]})
        require_equal(server.addresses, [self._socket("file"), self._socket("file2")], "the addresses")

    @check
    def fileSaysASingleAddress(self):
        server = self._serve(config={"listen": self._socket("file")})
        require_equal(server.addresses, [self._socket("file")], "the addresses")

    @check
    def environmentGoesOverTheFile(self):
        env = {"PARLEY_LISTEN": self._socket("env")}
        server = self._serve(env=env, config={"listen": [self._socket("file")]})
        require_equal(server.addresses, [self._socket("env")], "the addresses")

    @check
    def environmentMayListAddresses(self):
        server = self._serve(env={"PARLEY_LISTEN": f"{self._socket('one')},{self._socket('two')}"})
        require_equal(server.addresses, [self._socket("one"), self._socket("two")], "the addresses")

    @check
    def flagGoesOverTheEnvironment(self):
        env = {"PARLEY_LISTEN": self._socket("env")}
        server = self._serve(env=env, config={"listen": [self._socket("file")]}, listen=[self._socket("flag")])
        require_equal(server.addresses, [self._socket("flag")], "the addresses")

    @check
    def configFromTheEnvironmentIsRead(self):
        server = self._serve(env={"PARLEY_CONFIG": self._config({"listen": [self._socket("file")]})})
        require_equal(server.addresses, [self._socket("file")], "the addresses")

    @check
    def fileSaysTheLogLevel(self):
        listen = [self._socket("log")]
        require_equal(self._serve(config={"log-level": "critical"}, listen=listen).err, "", "the log")
        require("draining" in self._serve(listen=listen).err, "by default nothing is logged")

    @check
    def environmentsLogLevelGoesOverTheFiles(self):
        said = self._serve(
            config={"log-level": "critical"}, env={"PARLEY_LOG_LEVEL": "info"}, listen=[self._socket("log")]
        )
        require("draining" in said.err, f"the log is {said.err!r}")

    @check
    def flagsLogLevelGoesOverTheEnvironments(self):
        env = {"PARLEY_LOG_LEVEL": "info"}
        said = self._serve("--log-level", "critical", env=env, listen=[self._socket("log")])
        require_equal(said.err, "", "the log")

    @check
    def socketModeIsKept(self):
        modes = []
        server = Server(
            self.workshop,
            self.folder,
            "--database-url",
            self.url,
            "--jwt-secret-file",
            self.secret,
            "--socket-mode",
            "600",
            listen=[self._socket("mode")],
            secret=self.secret,
            keep_data=False,
        )
        try:
            server.start()
            modes.append(oct((self.folder / "mode").stat().st_mode & 0o777))
        finally:
            server.end()
        require_equal(modes, ["0o600"], "the socket's permissions")


class WrongValues(SettingsScenario):
    """Each is refused with the setting's name, the value and what is allowed, whichever way it came."""

    def _serve(self, *flags, **options):
        keys = ["--jwt-secret-file", self.secret, "--listen", "127.0.0.1:0"]
        return self.workshop.run("serve", *NO_DATABASE, *keys, *flags, seconds=10, **options)

    def _refuses_everywhere(self, flag, value, *allowed):
        words = flag.split("-")
        name = "[ .-]".join(words)
        variable = "PARLEY_" + "_".join(words).upper()
        config = self._config({flag: value})
        says = [name, value.replace("+", "\\+"), *allowed]
        self._serve(f"--{flag}={value}").refused(f"--{flag}", *says)
        self._serve(env={variable: value}).refused(f"from {variable}", "default", *says)
        self._serve("--config", config).refused(f"from --config {config}", "default", *says)

    @check
    def wrongLogLevelIsRefused(self):
        self._refuses_everywhere("log-level", "loud", "debug", "critical")

    @check
    def wrongReadersAreRefused(self):
        for value in ("0", "65", "many", "1.5", "-1"):
            self._refuses_everywhere("readers", value, "1 to 64")

    @check
    def wrongPreparedStatementsAreRefused(self):
        self._refuses_everywhere("prepared-statements", "maybe", "on, off and auto")

    @check
    def wrongLeewayIsRefused(self):
        for value in ("-1", "301", "some"):
            self._refuses_everywhere("jwt-leeway", value, "0 to 300")

    @check
    def wrongConnectionsAreRefused(self):
        for value in ("0", "5", "70", "many"):
            self._refuses_everywhere("connections", value, "6 to 69")

    @check
    def tooFewConnectionsForTheReadersAreRefused(self):
        self._serve("--connections=8", "--readers=5").refused("connections 8", "too few", "5 readers")

    @check
    def wrongReadersAsAJSONNumberAreRefused(self):
        self._serve("--config", self._config({"readers": 0})).refused("readers", "0", "1 to 64")

    @check
    def wrongTimesOfConnectionsAreRefused(self):
        for flag in ("grpc-max-age", "grpc-max-idle", "grpc-keepalive"):
            self._refuses_everywhere(flag, "0", "1 to")
            self._refuses_everywhere(flag, "soon", "1 to")

    @check
    def wrongReflectionIsRefused(self):
        self._serve(env={"PARLEY_REFLECTION": "perhaps"}).refused("reflection", "perhaps", "true", "false")
        self._serve("--config", self._config({"reflection": "perhaps"})).refused(
            "reflection", "perhaps", "true", "false"
        )

    @check
    def wrongSocketModeIsRefused(self):
        for value in ("999", "rw", "1777"):
            self._refuses_everywhere("socket-mode", value, "octal")

    @check
    def wrongAddressesAreRefused(self):
        for value in ("nonsense", "127.0.0.1", "127.0.0.1:65536", "127.0.0.1:", "::1:80", "unix:", ":80"):
            for ran in (
                self._listens("--listen", value),
                self._listens(env={"PARLEY_LISTEN": value}),
                self._listens("--config", self._config({"listen": [value]})),
            ):
                ran.refused("listen", value, "unix:PATH", "HOST:PORT")

    def _listens(self, *flags, **options):
        keys = ["--jwt-secret-file", self.secret]
        return self.workshop.run("serve", *NO_DATABASE, *keys, *flags, seconds=10, **options)

    @check
    def longSocketPathIsRefused(self):
        path = "/tmp/" + "x" * 103
        self._listens("--listen", f"unix:{path}").refused(path, "107")

    @check
    def emptyTextsAreRefused(self):
        for flag in ("data", "jwt-issuer", "jwt-audience"):
            variable = "PARLEY_" + flag.replace("-", "_").upper()
            self._serve(f"--{flag}", "").refused(f"{flag} \\(empty\\), from --{flag}")
            self._serve(env={variable: ""}).refused(f"{flag} \\(empty\\), from {variable}")
            self._serve("--config", self._config({flag: ""})).refused(f"{flag} \\(empty\\), from --config")
        for command in ("serve", "migrate", "verify"):
            self.workshop.run(command, "--database-url", "").refused("--database-url", "empty")
            self.workshop.run(command, env={"PARLEY_DATABASE_URL": ""}).refused("PARLEY_DATABASE_URL", "empty")
            if command != "serve":
                self.workshop.run(command, "--data", "").refused("--data is empty")

    @check
    def urlThatLibpqCannotReadIsRefused(self):
        url = "host=127.0.0.1 prot=5432 password=hidden"
        for command in ("serve", "migrate", "verify"):
            ran = self.workshop.run(command, "--database-url", url, seconds=10)
            ran.refused("--database-url", 'invalid connection option "prot"')
            require("hidden" not in ran.err, f"it shows the password: {ran.err}")

    @check
    def unknownFlagsAreRefused(self):
        self._serve("--lisen", "127.0.0.1:0").refused("--lisen")

    @check
    def unknownSettingsInAFileAreRefused(self):
        self._serve("--config", self._config({"lisen": ["127.0.0.1:0"]})).refused("lisen")

    @check
    def valuesOfAnotherTypeInAFileAreRefused(self):
        for name, value, is_, allowed in [
            ("jwt-issuer", ["acme"], "a list", "a text"), ("jwt-issuer", 5, "a number", "a text"),
            ("jwt-audience", None, "null", "a text"), ("listen", 5, "a number", "list of texts"),
            ("listen", [5], "a list", "list of texts"), ("listen", {"a": 1}, "an object", "list of texts"),
            ("connections", 8.5, "a number", "a whole number"), ("connections", True, "a boolean", "a whole number"),
            ("readers", [3], "a list", "a whole number"), ("log-level", 3, "a number", "a text"),
            ("reflection", 1, "a number", "true or false"),
        ]:
            self._serve("--config", self._config({name: value})).refused("--config", name, f"is {is_}", allowed)

    @check
    def absentFileIsNamed(self):
        self._serve("--config", self.folder / "absent.json").refused(
            str(self.folder / "absent.json"), "not found|no such"
        )

    @check
    def malformedFileIsNamed(self):
        path = self._config('{"readers": ')
        self._serve("--config", path).refused(str(path), "JSON")


class WrongPlaces(SettingsScenario):
    """Addresses that are well formed, and cannot be listened on."""

    def prepare(self):
        super().prepare()
        self.url = self.workshop.shared_postgres().new_database("places")

    def _listens(self, address):
        flags = ["--database-url", self.url, "--jwt-secret-file", self.secret, "--listen", address]
        return self.workshop.run("serve", *flags, seconds=25)

    @check
    def unknownHostIsRefused(self):
        self._listens("999.1.1.1:0").refused("999\\.1\\.1\\.1", "leads to no address")

    @check
    def addressOfAnotherMachineIsRefused(self):
        self._listens("203.0.113.9:0").refused("203\\.0\\.113\\.9", "assign|address")

    @check
    def socketInAnAbsentFolderIsRefused(self):
        self._listens(f"unix:{self.folder}/absent/s").refused(f"{self.folder}/absent", "no such file")

    @check
    def fileInTheSocketsPlaceIsKept(self):
        (self.folder / "letter").write_text("mine")
        self._listens(f"unix:{self.folder}/letter").refused("letter", "no socket")
        require_equal((self.folder / "letter").read_text(), "mine", "the letter")

    @check
    def sameSocketTwiceIsRefused(self):
        address = f"unix:{self.folder}/twice"
        flags = ["--database-url", self.url, "--jwt-secret-file", self.secret, "--listen", address, "--listen", address]
        self.workshop.run("serve", *flags, seconds=25).refused("twice", "listens")
        require(not listens(self.folder / "twice"), "somebody listens there")


class Keys(SettingsScenario):
    """There is no way to run without."""

    def _serve(self, *flags):
        return self.workshop.run("serve", *NO_DATABASE, "--listen", "127.0.0.1:0", *flags, seconds=10)

    @check
    def serverWithoutAKeyIsRefused(self):
        self._serve().refused("no way to run without", "--jwt-secret-file", "--jwt-public-key-file")

    @check
    def serverWithNothingIsTold(self):
        self.workshop.run("serve", seconds=10).refused("--data")

    @check
    def serverWithoutADatabaseIsTold(self):
        self.workshop.run("serve", "--jwt-secret-file", self.secret, seconds=10).refused("--data", "--database-url")

    @check
    def shortSecretIsRefused(self):
        short = self.folder / "short"
        # The newline at the end is none of it.
        short.write_text("x" * 31 + "\n")
        self._serve("--jwt-secret-file", short).refused(str(short), "31 bytes", "at least 32")
        self.workshop.run("token", "--tenant", "a", "--jwt-secret-file", short).refused(str(short), "31 bytes", "32")

    @check
    def absentSecretIsNamed(self):
        self._serve("--jwt-secret-file", self.folder / "absent").refused(str(self.folder / "absent"), "read")

    @check
    def emptySecretOfAFolderIsRefused(self):
        data = self.folder / "data"
        data.mkdir()
        (data / "jwt.secret").touch()
        ran = self.workshop.run("serve", "--data", data, "--listen", "127.0.0.1:0", seconds=10)
        ran.refused(str(data / "jwt.secret"), "0 bytes", "32")

    @check
    def badPEMIsRefused(self):
        bad = self.folder / "bad.pem"
        for content in ("", "nonsense\n", "-----BEGIN PUBLIC KEY-----\nnonsense\n-----END PUBLIC KEY-----\n"):
            bad.write_text(content)
            self._serve("--jwt-public-key-file", bad).refused("--jwt-public-key-file", str(bad), "PEM", "RSA")

    @check
    def badPEMBesideAGoodSecretIsRefused(self):
        bad = self.folder / "worse.pem"
        bad.write_bytes(b"\xff\xfe\0")
        self._serve("--jwt-secret-file", self.secret, "--jwt-public-key-file", bad).refused(str(bad))


SCENARIOS = [Precedence, WrongPlaces, WrongValues, Keys]
