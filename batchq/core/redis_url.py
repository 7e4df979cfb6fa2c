"""One parser for the forms of a Redis address, so that store, broker and result backend mean the same server.

redis://[USER:PW@]HOST[:PORT][/DB]           rediss://… with TLS (?ssl_cert_reqs=, ssl_ca_certs=, …)
redis+socket://[:PW@]/PATH[?virtual_host=DB]  (also unix://)
sentinel://[:PW@]H1[:P],H2[:P]/DB?master=NAME[&sentinel_password=PW]
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

FORMS = "redis://HOST:6379/0, rediss://…, redis+socket://:PW@/PATH?virtual_host=0 or sentinel://H1:26379,H2:26379/0?master=NAME"
TLS_OPTIONS = frozenset(
    {"ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname"}
)


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where a Redis is. Exactly one of `socket`, `sentinels` and `host` says it."""

    db: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    host: str | None = None
    port: int = 6379
    tls: bool = False
    tls_options: tuple[tuple[str, str], ...] = ()
    socket: str | None = None
    sentinels: tuple[tuple[str, int], ...] = ()
    master: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)

    @property
    def shown(self) -> str:
        """The address without its password."""
        if self.socket:
            return f"redis+socket://{self.socket}?virtual_host={self.db}"
        if self.sentinels:
            hosts = ",".join(f"{host}:{port}" for host, port in self.sentinels)
            return f"sentinel://{hosts}/{self.db}?master={self.master}"
        return f"{'rediss' if self.tls else 'redis'}://{self.host}:{self.port}/{self.db}"

    @property
    def is_local(self) -> bool:
        return self.socket is not None or self.host in ("127.0.0.1", "localhost", "::1")

    def broker_url(self) -> str:
        """In the form kombu reads."""
        if self.socket:
            return f"redis+socket://{self._login()}{quote(self.socket)}?virtual_host={self.db}"
        if self.sentinels:
            return ";".join(
                f"sentinel://{self._login()}{host}:{port}/{self.db}" for host, port in self.sentinels
            )
        return self._plain_url()

    def backend_url(self) -> str:
        """In the form Celery's result backend reads; it differs from kombu's for sockets."""
        if self.socket:
            query: dict[str, str | int] = {"virtual_host": self.db}
            if self.password:
                query["password"] = self.password
            if self.username:
                query["username"] = self.username
            return f"redis+socket://{quote(self.socket)}?{urlencode(query)}"
        return self.broker_url()

    def _plain_url(self) -> str:
        query = f"?{urlencode(self.tls_options)}" if self.tls_options else ""
        host = f"[{self.host}]" if self.host and ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{self._login()}{host}:{self.port}/{self.db}{query}"

    def _login(self) -> str:
        if self.password is None and self.username is None:
            return ""
        return f"{quote(self.username or '', safe='')}:{quote(self.password or '', safe='')}@"


def parse(url: str) -> RedisAddress:
    """Raises ValueError with a message that never shows the password."""
    parts = urlsplit(url)
    scheme = parts.scheme
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    username, password, hosts = _login_of(parts.netloc)
    if scheme in ("redis", "rediss"):
        unknown = set(query) - TLS_OPTIONS - {"db", "virtual_host"}
        if unknown:
            raise ValueError(f"a {scheme}:// URL knows no option {sorted(unknown)[0]!r}")
        if not hosts:
            raise ValueError(f"the URL names no host: write {FORMS}")
        host, port = _host_port(hosts, 6379)
        options = tuple((key, value) for key, value in query.items() if key in TLS_OPTIONS)
        if scheme == "rediss" and "ssl_cert_reqs" not in query:
            options += (("ssl_cert_reqs", "required"),)  # Celery refuses to start without it
        db = _db(parts.path.strip("/") or query.get("db") or query.get("virtual_host") or "0")
        return RedisAddress(db, username, password, host, port, scheme == "rediss", options)
    if scheme in ("redis+socket", "unix"):
        if not parts.path.startswith("/") or hosts:
            raise ValueError(
                "a socket URL needs an absolute path: redis+socket://:PW@/run/redis.sock?virtual_host=0"
            )
        db = _db(query.get("virtual_host") or query.get("db") or "0")
        return RedisAddress(
            db,
            username or query.get("username"),
            password or query.get("password"),
            socket=unquote(parts.path),
        )
    if scheme == "sentinel":
        if "master" not in query:
            raise ValueError("a sentinel:// URL needs ?master=NAME")
        sentinels = tuple(_host_port(one, 26379) for one in hosts.split(",") if one)
        if not sentinels:
            raise ValueError("a sentinel:// URL needs at least one host")
        return RedisAddress(
            _db(parts.path.strip("/") or "0"),
            username,
            password,
            sentinels=sentinels,
            master=query["master"],
            sentinel_password=query.get("sentinel_password"),
        )
    raise ValueError(f"scheme {scheme or '(none)'!r} is not one of ours: write {FORMS}")


def _login_of(netloc: str) -> tuple[str | None, str | None, str]:
    login, _, hosts = netloc.rpartition("@")
    username, _, password = login.partition(":")
    return unquote(username) or None, unquote(password) or None, hosts


def _host_port(text: str, default: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    try:
        return parts.hostname or "localhost", parts.port or default
    except ValueError:
        raise ValueError(f"{text.rpartition('@')[2]!r} has no valid port") from None


def _db(text: str) -> int:
    if not text.isdigit():
        raise ValueError(f"{text!r} is no database number")
    return int(text)
