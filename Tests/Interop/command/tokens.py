"""Tokens: those the command mints, and those of an issuer of the operator's own."""

import base64
import hashlib
import hmac
import json
import shutil
import subprocess
import time

from checks import Scenario, check, require, require_equal
from servers import Server


def encoded(data):
    data = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(part):
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def signed(claims, algorithm, sign):
    text = encoded({"alg": algorithm, "typ": "JWT"}) + "." + encoded(claims)
    return text + "." + encoded(sign(text.encode()))


def signed_by_secret(claims, secret):
    return signed(claims, "HS256", lambda text: hmac.new(secret, text, hashlib.sha256).digest())


def claims_for(tenant, **more):
    return {"tenant": tenant, "scope": "analytics:view interactions:record", "exp": int(time.time()) + 600} | more


class MintedTokens(Scenario):
    """`parley token`, and what the server makes of it."""

    def prepare(self):
        self.server = self.workshop.shared_server()
        self.tenant = "minted"
        self.caller = self.server.caller(self.tenant)
        self.recorded = self.caller.record(conversation_id="c")["interaction_id"]

    def _mint(self, *flags):
        return self.workshop.run("token", "--data", self.server.data, "--tenant", self.tenant, *flags)

    def _list(self, token, **options):
        env = {"PARLEY_ADDRESS": self.server.addresses[0], "PARLEY_TOKEN": token}
        return self.workshop.run("list", env=env, **options)

    @check
    def tokenLastsAsLongAsAsked(self):
        for ttl, seconds in {"90s": 90, "10m": 600, "2h": 7200, "3d": 259_200, "3650d": 315_360_000}.items():
            token = self._mint("--ttl", ttl).succeeded().out.strip()
            lasts = decoded(token.split(".")[1])["exp"] - time.time()
            require(abs(lasts - seconds) < 20, f"--ttl {ttl} lasts {lasts:.0f} s")
            self._list(token).succeeded()

    @check
    def tokenLastsAnHourByDefault(self):
        lasts = decoded(self._mint().succeeded().out.split(".")[1])["exp"] - time.time()
        require(abs(lasts - 3600) < 20, f"it lasts {lasts:.0f} s")

    @check
    def tokenIsOneLine(self):
        out = self._mint().succeeded().out
        require(out.endswith("\n") and len(out.split()) == 1 and out.count(".") == 2, f"it prints {out!r}")

    @check
    def wrongLifetimesAreRefused(self):
        for ttl in ("1", "0s", "1w", "1.5h", "", "h", "3651d", "99999999999999999999s", "1 h", "1H", "٣s"):
            self._mint("--ttl", ttl).refused("--ttl", ttl, "number", "s, m, h or d", "3650d")

    @check
    def wrongTenantsAreRefused(self):
        for tenant in ("", "a\nb", "x" * 129):
            ran = self.workshop.run("token", "--data", self.server.data, "--tenant", tenant)
            ran.refused("--tenant", "1 to 128 bytes")

    @check
    def tokenNeedsTenantAndSecret(self):
        self.workshop.run("token", "--data", self.server.data).refused("--tenant")
        self.workshop.run("token", "--tenant", "a").refused("--jwt-secret-file", "--data")
        absent = self.folder / "absent"
        self.workshop.run("token", "--tenant", "a", "--data", absent).refused(str(absent), "read")
        require(not absent.exists(), "it made the folder")

    @check
    def expiredTokenIsRefused(self):
        secret = (self.server.data / "jwt.secret").read_bytes().rstrip(b"\n")
        expired = int(time.time()) - 61
        self._list(signed_by_secret(claims_for(self.tenant, exp=expired), secret)).refused("TOKEN_EXPIRED", "UNAUTHENTICATED", "expired", "parley token")

    @check
    def clocksMayDifferByAMinute(self):
        secret = (self.server.data / "jwt.secret").read_bytes().rstrip(b"\n")
        now = int(time.time())
        self._list(signed_by_secret(claims_for(self.tenant, exp=now - 30), secret)).succeeded()
        self._list(signed_by_secret(claims_for(self.tenant, nbf=now + 30), secret)).succeeded()

    @check
    def claimGivenTwiceIsRefused(self):
        secret = (self.server.data / "jwt.secret").read_bytes().rstrip(b"\n")
        claims = json.dumps(claims_for("one"))[:-1] + ', "tenant": "two"}'
        self._list(signed_by_secret(claims.encode(), secret)).refused("TOKEN_INVALID", "names tenant twice")

    @check
    def readerMayNotRecord(self):
        token = self._mint("--scope", "analytics:view").succeeded().out.strip()
        self._list(token).succeeded()
        env = {"PARLEY_ADDRESS": self.server.addresses[0], "PARLEY_TOKEN": token}
        ran = self.workshop.run("record", "--conversation", "c", env=env)
        ran.refused("PERMISSION_DENIED", "SCOPE_MISSING", "interactions:record")

    @check
    def writerMayNotRead(self):
        token = self._mint("--scope", "interactions:record").succeeded().out.strip()
        env = {"PARLEY_ADDRESS": self.server.addresses[0], "PARLEY_TOKEN": token}
        self.workshop.run("record", "--conversation", "c", env=env).succeeded()
        for command in (["list"], ["get", self.recorded], ["stats"]):
            ran = self.workshop.run(*command, env=env)
            ran.refused("PERMISSION_DENIED", "SCOPE_MISSING", "analytics:view")

    @check
    def tokenOfNoScopeDoesNothing(self):
        token = self._mint("--scope", "").succeeded().out.strip()
        self._list(token).refused("SCOPE_MISSING")

    @check
    def unknownScopeIsRefused(self):
        ran = self._mint("--scope", "analytics:view everything at once")
        ran.refused("--scope", "everything", "interactions:record", "analytics:view")

    @check
    def tokenOfAnotherTenantSeesNothing(self):
        stranger = self.server.caller("stranger-to-minted")
        stranger.run("get", self.recorded).refused("NOT_FOUND", self.recorded)
        require_equal(stranger.list(), [], "the stranger's list")
        require_equal(stranger.total(), 0, "the stranger's total")

    @check
    def tokenOfAnotherSecretIsRefused(self):
        other = self.workshop.new_secret(self.folder)
        token = self.workshop.run("token", "--tenant", self.tenant, "--jwt-secret-file", other).succeeded().out.strip()
        self._list(token).refused("TOKEN_INVALID", "signature")

    @check
    def malformedTokensAreRefused(self):
        good = self._mint().succeeded().out.strip()
        head, body, signature = good.split(".")
        for token in ("x", "a.b.c", head + "." + body, head + "." + body + ".", good + "x", "x" * 9000):
            self._list(token).refused("UNAUTHENTICATED", "TOKEN_INVALID")

    @check
    def unsignedTokenIsRefused(self):
        text = encoded({"alg": "none", "typ": "JWT"}) + "." + encoded(claims_for(self.tenant))
        for signature in ("", encoded(b"x")):
            self._list(f"{text}.{signature}").refused("UNAUTHENTICATED", "TOKEN_INVALID")

    @check
    def tokenMayComeFromAFile(self):
        path = self.folder / "token"
        path.write_text("\n" + self._mint().succeeded().out + "\n")
        env = {"PARLEY_ADDRESS": self.server.addresses[0]}
        self.workshop.run("list", "--token-file", path, env=env).succeeded()
        # The flag is nearer than the environment.
        self.workshop.run("list", "--token-file", path, env=env | {"PARLEY_TOKEN": "nonsense"}).succeeded()
        self.workshop.run("list", "--token-file", self.folder / "absent", env=env).refused(
            "--token-file", "absent", "cannot be read: no such file or directory"
        )
        self.workshop.run("list", "--token-file", self.folder, env=env).refused("cannot be read: is a directory")

    @check
    def emptyTokenIsNamed(self):
        env = {"PARLEY_ADDRESS": self.server.addresses[0]}
        path = self.folder / "empty"
        path.write_text("\n")
        self.workshop.run("list", "--token-file", path, env=env).refused(f"--token-file {path} is empty")
        self.workshop.run("list", env=env | {"PARLEY_TOKEN": ""}).refused("PARLEY_TOKEN is empty")

    @check
    def whatIsNoTokenIsNamed(self):
        env = {"PARLEY_ADDRESS": self.server.addresses[0]}
        path = self.folder / "wrong"
        for content in (b"a\0b", b"two words", b"x" * 5_000_000):
            path.write_bytes(content)
            self.workshop.run("list", "--token-file", path, env=env).refused(f"--token-file {path} holds no token")
        both = self.workshop.run("list", "--token-file", path, "--token", "x", env=env)
        both.refused("--token and --token-file are both given")

    @check
    def otherIssuersClaimsAreUnderstood(self):
        secret = (self.server.data / "jwt.secret").read_bytes().rstrip(b"\n")
        lists = {"tenant_id": self.tenant, "scopes": ["analytics:view"], "exp": int(time.time()) + 60}
        require(
            self.recorded in self._list(signed_by_secret(lists, secret)).succeeded().out, "the record is not listed"
        )
        endless = {"tenant": self.tenant, "scope": "analytics:view"}
        self._list(signed_by_secret(endless, secret)).refused("TOKEN_INVALID", "exp")
        early = claims_for(self.tenant, nbf=int(time.time()) + 600)
        self._list(signed_by_secret(early, secret)).refused("TOKEN_INVALID", "nbf")


class IssuersTokens(Scenario):
    """A server that knows the public keys of an issuer, and no secret."""

    def prepare(self):
        self.openssl = shutil.which("openssl")
        keys = {
            "RS256": ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
            "ES256": ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            "EdDSA": ["ED25519"],
        }
        self.url = self.workshop.shared_postgres().new_database("issuer")
        flags = ["--database-url", self.url, "--jwt-issuer", "https://issuer.example", "--jwt-audience", "parley"]
        for algorithm, kind in keys.items():
            self._openssl("genpkey", "-algorithm", *kind, "-out", self._key(algorithm))
            self._openssl("pkey", "-in", self._key(algorithm), "-pubout", "-out", self._public_key(algorithm))
            flags += ["--jwt-public-key-file", self._public_key(algorithm)]
        self.server = Server(self.workshop, self.folder, *flags, keep_data=False).start()
        self.claims = claims_for("acme", iss="https://issuer.example", aud=["other", "parley"])

    def finish(self):
        self.server.end()

    def _openssl(self, *arguments):
        ran = subprocess.run([self.openssl, *map(str, arguments)], capture_output=True, timeout=30)
        require_equal(ran.returncode, 0, f"openssl's status ({ran.stderr.decode()})")
        return ran.stdout

    def _key(self, algorithm):
        return self.folder / f"{algorithm}.key"

    def _public_key(self, algorithm):
        return self.folder / f"{algorithm}.pub"

    def _token(self, algorithm, claims):
        return signed(claims, algorithm, lambda text: self._signature(algorithm, text))

    def _signature(self, algorithm, text):
        file = self.folder / "text"
        file.write_bytes(text)
        key = self._key(algorithm)
        if algorithm == "EdDSA":
            return self._openssl("pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", file)
        signature = self._openssl("dgst", "-sha256", "-sign", key, file)
        return self._pair(signature) if algorithm == "ES256" else signature

    def _pair(self, der):
        """The two numbers of an ECDSA signature, 32 bytes each, out of their DER."""
        first_length = der[3]
        numbers = der[4 : 4 + first_length], der[6 + first_length :]
        return b"".join(number.lstrip(b"\0").rjust(32, b"\0") for number in numbers)

    def _list(self, token):
        return self.workshop.run("list", env={"PARLEY_ADDRESS": self.server.addresses[0], "PARLEY_TOKEN": token})

    @check
    def issuersTokensAreTaken(self):
        for algorithm in ("RS256", "ES256", "EdDSA"):
            self._list(self._token(algorithm, self.claims)).succeeded()

    @check
    def otherIssuersTokensAreRefused(self):
        self._list(self._token("ES256", self.claims | {"iss": "https://other.example"})).refused("TOKEN_INVALID", "iss")
        self._list(self._token("ES256", self.claims | {"aud": "other"})).refused("TOKEN_INVALID", "aud")
        without = {name: value for name, value in self.claims.items() if name != "iss"}
        self._list(self._token("ES256", without)).refused("TOKEN_INVALID", "iss")

    @check
    def publicKeyIsNoSecret(self):
        for algorithm in ("RS256", "ES256", "EdDSA"):
            secret = self._public_key(algorithm).read_bytes()
            for known in (secret, secret.rstrip(b"\n")):
                self._list(signed_by_secret(self.claims, known)).refused("TOKEN_INVALID", "algorithm")

    @check
    def signatureOfAnotherKeyIsRefused(self):
        self._openssl("genpkey", "-algorithm", "ED25519", "-out", self.folder / "other.key")
        self._key("EdDSA").rename(self.folder / "own.key")
        (self.folder / "other.key").rename(self._key("EdDSA"))
        self._list(self._token("EdDSA", self.claims)).refused("TOKEN_INVALID", "signature")

    @check
    def publicKeysNeedNoSecret(self):
        require(not (self.folder / "jwt.secret").exists(), "it made a secret nobody asked for")

    @check
    def mintingNeedsASecret(self):
        public = self._public_key("RS256")
        token = self.workshop.run("token", "--tenant", "acme", "--jwt-secret-file", public).succeeded().out.strip()
        self._list(token).refused("TOKEN_INVALID", "algorithm")


SCENARIOS = [MintedTokens, IssuersTokens]
