"""The settings of an admin port, as both programs have them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import Field

from programkit import settings
from programkit.admin_http import options
from programkit.admin_http.options import AdminAllow, AdminHosts, AdminListen
from programkit.settings import ProgramSettings


class Settings(ProgramSettings):
    """Settings of a program."""

    admin_listen: AdminListen = Field(None)
    admin_allow: AdminAllow = Field([])
    admin_host: AdminHosts = Field([])
    listen: str = Field("127.0.0.1:8080")

    @classmethod
    def incomplete(cls, given: dict[str, object]) -> Iterator[tuple[str, str]]:  # type: ignore[override] # any mapping
        yield from options.incomplete(given, {"--listen": str(given.get("listen") or "127.0.0.1:8080")})


def load(*arguments: str) -> Settings:
    return settings.load(Settings, arguments)


@pytest.mark.parametrize(
    "given",
    [
        (),
        ("--admin-listen", "127.0.0.1:9090"),
        ("--admin-listen", "127.1.2.3:9090"),
        ("--admin-listen", "localhost:9090"),
        ("--admin-listen", "[::1]:9090"),
        ("--admin-listen", "0.0.0.0:9090", "--admin-allow", "10.0.0.0/8"),
        ("--admin-listen", "[::]:9090", "--admin-allow", "fd00::/8,10.0.0.0/8", "--admin-allow", "192.0.2.7"),
        ("--admin-listen", "node.internal:9090", "--admin-allow", "10.0.0.0/8", "--admin-host", "a.b.svc,c"),
    ],
)
def test_addresses_with_the_networks_they_need_are_accepted(given: tuple[str, ...]) -> None:
    load(*given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--admin-listen", "0.0.0.0:9090"), "--admin-allow (ADMIN_ALLOW): is missing; --admin-listen 0.0.0.0:9090"),
        (("--admin-listen", "[::]:9090", "--admin-allow", ""), "--admin-allow (ADMIN_ALLOW): is missing"),
        (("--admin-listen", "localhost.example:1"), "--admin-allow (ADMIN_ALLOW): is missing"),
        (("--admin-listen", "127.0.0.1:8080"), "--admin-listen (ADMIN_LISTEN): is also the address of --listen"),
        (("--admin-allow", "10.0.0.0/8"), "--admin-listen (ADMIN_LISTEN): is missing, but --admin-allow is set"),
        (("--admin-host", "a"), "--admin-listen (ADMIN_LISTEN): is missing, but --admin-host is set"),
        (("--admin-listen", "9090"), "expected HOST:PORT or [IPV6]:PORT, got '9090'"),
        (("--admin-listen", "::1:9090"), "expected HOST:PORT or [IPV6]:PORT, got '::1:9090'"),
        (("--admin-listen", ":9090"), "expected HOST:PORT or [IPV6]:PORT, got ':9090'"),
        (("--admin-listen", "localhost:1", "--admin-allow", "10.0.0.1/8"), "has host bits set, got '10.0.0.1/8'"),
        (("--admin-listen", "localhost:1", "--admin-allow", "everyone"), "got 'everyone'"),
        (("--admin-listen", "localhost:1", "--admin-host", "a:1"), "expected a host name without a port, got 'a:1'"),
        (("--admin-listen", "localhost:1", "--admin-host", "*"), "expected a host name without a port, got '*'"),
    ],
)
def test_what_is_missing_or_wrong_is_named(
    given: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        load(*given)
    assert exit_.value.code == 2
    assert said in capsys.readouterr().err
