"""One parser for every form of a Redis address; broker and backend get the form each reads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchq.core.redis_url import parse


def test_a_plain_address_keeps_its_parts() -> None:
    address = parse("redis://me:p%40ss@host:7000/4")
    assert (address.host, address.port, address.db, address.username, address.password) == (
        "host",
        7000,
        4,
        "me",
        "p@ss",
    )
    assert address.broker_url() == address.backend_url() == "redis://me:p%40ss@host:7000/4"
    assert "p@ss" not in address.shown
    assert "p@ss" not in repr(address)


def test_tls_is_verified_unless_it_says_otherwise() -> None:
    assert parse("rediss://host").broker_url() == "rediss://host:6379/0?ssl_cert_reqs=required"
    assert "ssl_cert_reqs=none" in parse("rediss://host?ssl_cert_reqs=none").backend_url()


def test_a_socket_has_another_form_for_broker_and_backend() -> None:
    address = parse("redis+socket://:pw@/run/my%20redis.sock?virtual_host=2")
    assert (address.socket, address.db, address.password) == ("/run/my redis.sock", 2, "pw")
    assert address.broker_url() == "redis+socket://:pw@/run/my%20redis.sock?virtual_host=2"
    assert address.backend_url() == "redis+socket:///run/my%20redis.sock?virtual_host=2&password=pw"


def test_sentinels_need_the_name_of_their_master() -> None:
    address = parse("sentinel://:pw@one:26379,two/1?master=mine&sentinel_password=other")
    assert address.sentinels == (("one", 26379), ("two", 26379))
    assert (address.master, address.db, address.sentinel_password) == ("mine", 1, "other")
    with pytest.raises(ValueError, match="master"):
        parse("sentinel://one/0")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host:6379",
        "http://x",
        "redis://",
        "redis://h:port",
        "redis://h/x",
        "redis://h?a=b",
        "unix://host/p",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(url)


@given(st.text(min_size=1, max_size=30).filter(lambda text: text.isprintable()))
def test_any_password_survives_the_way_there_and_back(password: str) -> None:
    from urllib.parse import quote

    address = parse(f"redis://:{quote(password, safe='')}@host/0")
    assert address.password == password
    assert parse(address.broker_url()).password == password
    socket = parse(f"redis+socket://:{quote(password, safe='')}@/run/r.sock")
    assert parse(socket.broker_url()).password == parse(socket.backend_url()).password == password
