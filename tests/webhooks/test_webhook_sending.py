"""One event to one address: what it looks like, and where it never goes."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path

import pytest
from receiver import SECRET, Receiver, receiving
from tls_kit import certificate

from batchq.errors import ConfigurationError
from batchq.providers.gemini.transport import certificates
from batchq.settings import load
from batchq.webhooks import Refused, Undelivered, is_allowed, problem_of, send

BODY = '{"type":"job.completed","data":{"name":"größer"}}'


def tell(url: str, *, loopback: bool = True, timeout_s: float = 10.0) -> None:
    send(url, "job-1:0", BODY, SECRET, timeout_s=timeout_s, loopback=loopback)


def test_an_event_is_signed_as_the_specification_says(receiver: Receiver) -> None:
    tell(receiver.url)
    [(event_id, kind, data)] = receiver.events()
    assert (event_id, kind, data) == ("job-1:0", "job.completed", {"name": "größer"})
    assert receiver.received[0][0]["webhook-signature"].startswith("v1,")


def test_a_certificate_is_checked_against_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = certificate(tmp_path)
    with receiving(made.server_context()) as receiver:
        certificates.cache_clear()
        with pytest.raises(Undelivered, match="localhost cannot be reached"):
            tell(receiver.url)
        monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))
        certificates.cache_clear()
        tell(receiver.url)
        assert len(receiver.events()) == 1
        # the address is right, and the name is none of the certificate's
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))],
        )
        with pytest.raises(Undelivered):
            tell(receiver.url.replace("localhost", "hooks.example"))
    monkeypatch.undo()
    certificates.cache_clear()


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 500, 503])
def test_anything_but_success_is_no_delivery_and_redirects_are_not_followed(
    receiver: Receiver, status: int
) -> None:
    receiver.answers, receiver.location = [status], receiver.url
    with pytest.raises(Undelivered, match=str(status)) as caught:
        tell(receiver.url)
    assert not isinstance(caught.value, Refused)
    assert len(receiver.received) == 1
    assert "/told" not in str(caught.value), "an address may hold a token"


def test_a_receiver_that_wants_no_more_gets_no_more(receiver: Receiver) -> None:
    receiver.answers = [410]
    with pytest.raises(Refused):
        tell(receiver.url)


def test_a_receiver_that_drips_its_answer_is_left_at_the_deadline(receiver: Receiver) -> None:
    receiver.answers = ["drip"]
    with pytest.raises(Undelivered, match="Timeout"):
        tell(receiver.url, timeout_s=0.5)


def test_the_body_of_an_answer_is_not_read(receiver: Receiver) -> None:
    receiver.answers = ["endless"]
    tell(receiver.url)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.2.1",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2001:db8::1",
    ],
)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    assert not is_allowed(ipaddress.ip_address(address), loopback=False)


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "2606:2800:21f::1", "::ffff:93.184.215.14", "64:ff9b::808:808"]
)
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_allowed(ipaddress.ip_address(address), loopback=False)


def test_a_name_that_leads_inside_is_refused_before_anything_is_sent(receiver: Receiver) -> None:
    with pytest.raises(Refused, match="not public"):
        tell(receiver.url.replace("http:", "https:"), loopback=False)
    assert receiver.received == []


@pytest.mark.parametrize("name", ["0x7f.1", "127.1", "2130706433", "017700000001"])
def test_other_spellings_of_an_address_lead_nowhere_else(name: str) -> None:
    with pytest.raises(Undelivered):
        tell(f"https://{name}/", loopback=False, timeout_s=2.0)


def test_a_name_is_looked_up_once_and_all_its_addresses_must_be_public(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    stock = socket.getaddrinfo

    def resolver(host: str, port: int, *args: object, **options: object) -> object:
        if host != "rebinds.example":
            return stock(host, port, *args, **options)  # type: ignore[arg-type]
        asked.append(host)
        inside = "127.0.0.1" if len(asked) == 1 else "10.0.0.1"
        addresses = ["93.184.215.14", "10.0.0.1"] if port == 443 else [inside]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    port = receiver.url.split(":")[2].partition("/")[0]
    # the certificate is none of the name's, so this gets as far as the connection to the first answer
    with pytest.raises(Undelivered) as caught:
        tell(f"https://rebinds.example:{port}/")
    assert not isinstance(caught.value, Refused)
    assert asked == ["rebinds.example"]
    with pytest.raises(Refused, match="not public"):
        tell("https://rebinds.example/")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://hooks.example/x", "https://"),
        ("ftp://hooks.example/x", "https://HOST"),
        ("https:///x", "https://HOST"),
        ("hooks.example", "https://HOST"),
        ("https://user:pw@hooks.example/", "login"),
        ("https://169.254.169.254/latest", "no public address"),
        ("https://[::1]:8443/", "no public address"),
        ("https://[::1/", "no URL"),
        ("https://hooks.example:99999/", "no URL"),
        ("https://hooks.example/\r\nHost: x", "control"),
        ("https://hook s.example/", "spaces"),
        ("https://höoks.example/", "punycode"),
        ("https://hooks.example/" + "x" * 2_048, "2048"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused_at_submit(url: str, why: str) -> None:
    problem = problem_of(url, loopback=False)
    assert problem is not None
    assert why in problem


def test_plain_http_is_for_this_machine_and_by_setting() -> None:
    assert problem_of("https://hooks.example/x?y=1", loopback=False) is None
    assert problem_of("http://127.0.0.1:8000/", loopback=False) is not None
    assert problem_of("http://127.0.0.1:8000/", loopback=True) is None
    assert problem_of("http://hooks.example/", loopback=True) is not None
    assert problem_of("http://10.0.0.1/", loopback=True) is not None


@pytest.mark.parametrize("secret", ["hunter2", "whsec_", "whsec_c2hvcnQ=", "whsec_%%%", "whsec_" + "A" * 100])
def test_a_secret_that_cannot_sign_is_refused_and_not_repeated(
    secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHQ_WEBHOOK_SECRET", secret)
    with pytest.raises(ConfigurationError, match="BATCHQ_WEBHOOK_SECRET") as caught:
        load()
    assert secret.removeprefix("whsec_")[:4] not in str(caught.value) or not secret.removeprefix("whsec_")
    monkeypatch.setenv("BATCHQ_WEBHOOK_SECRET", SECRET)
    settings = load()
    assert SECRET not in repr(settings)
    assert SECRET not in settings.model_dump_json()
