"""Secrets that a session was given, or that its environments shout, are looked for in all that it writes and shows."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import gymnasium
import pytest

import minestudio_nb as ms
from minestudio_nb import OnlineSession
from minestudio_nb.config.redaction import REDACTED, Secrets
from minestudio_nb.errors import ConfigError
from minestudio_nb.widgets.poster import poster_html
from minestudio_nb.widgets.pump import Pump, PumpSettings
from tests.runtime.ray_support import eventually

ALL = tuple(f"canary-{name}-5f2c9" for name in ("config", "override", "environ", "live", "fork"))
CONFIG, OVERRIDE, ENVIRON, LIVE, FORK = ALL
HOSTILE = '<img src=x onerror="window.evil=1">\'"</script><script>window.evil=1</script>'
PICKLE = re.compile(rb"\x80[\x02-\x05]|\(lp|\(dp")
"""How pickles begin, of all protocols that are still written."""


class Leaky(gymnasium.Wrapper):  # type: ignore[type-arg]
    """CartPole whose faults quote what it was built with, as clients of web services do."""

    faults = 1
    """How many are still to come, of all instances together."""

    def __init__(self, api_key: str, password: str) -> None:
        import os

        super().__init__(gymnasium.make("CartPole-v1"))
        self._said = f"401 for {api_key}:{password} and {os.environ['CANARY_TOKEN']}; {HOSTILE}"
        self._left = 60

    def step(self, action: Any) -> Any:
        self._left -= 1
        if self._left <= 0 and Leaky.faults > 0:
            Leaky.faults -= 1
            raise RuntimeError(self._said)
        obs, reward, terminated, truncated, info = super().step(action)
        return obs, reward, terminated, truncated, {**info, HOSTILE: HOSTILE}


@pytest.fixture
def leaky(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CANARY_TOKEN", ENVIRON)
    gymnasium.register("Leaky-v0", entry_point=Leaky)
    monkeypatch.setattr(Leaky, "faults", 1)
    yield
    gymnasium.registry.pop("Leaky-v0")


def leaky_config() -> dict[str, Any]:
    return {
        "base": "cartpole",
        "env_config": {"simulator": "gymnasium", "id": "Leaky-v0", "kwargs": {"api_key": CONFIG}},
        "logger_config": {"tensorboard": True},
        "rollout_config": {"worker_config": {"num_envs": 2, "execution": "in_worker"}},
    }


def found_in(text: str | bytes, where: str) -> list[str]:
    """Which canaries are in ``text``, with where."""
    data = text.encode() if isinstance(text, str) else text
    return [f"{canary} in {where}" for canary in ALL if canary.encode() in data]


class Markup(HTMLParser):
    """What in a page could run: scripts, handlers, pictures from elsewhere."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.live: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.live += [tag] if tag in ("script", "object", "embed") else []
        self.live += [name for name, _ in attrs if name.startswith("on")]
        self.live += [str(value) for name, value in attrs if name == "src" and not str(value).startswith("data:")]


def html_of(session: OnlineSession) -> Iterator[str]:
    """All that a session shows as HTML."""
    yield str(session._repr_html_())
    yield poster_html(session.poster())
    yield str(ms.runs(session.run_root)._repr_html_())


def shown_by(session: OnlineSession) -> Iterator[str]:
    """Where canaries are in what a session shows of itself."""
    yield from found_in(repr(session), "repr")
    yield from found_in(repr(session.status()), "status")
    for html in html_of(session):
        yield from found_in(html, "HTML")
        yield from (f"{live} in HTML" for live in Markup(html).live)
    yield from found_in(session.events().to_csv(), "events()")
    yield from found_in(repr(session.config) + repr(session.config.config), "the configuration's repr")
    sent: list[str] = []
    pump = Pump(session._view(), lambda message, buffers: sent.append(repr(message)), PumpSettings(data_seconds=0.05))
    pump.receive({"k": "hello", "view": "test"})
    eventually(lambda: len(sent), 60.0, "a message to the page")
    pump.close()
    for message in sent:
        yield from found_in(message, "a message to the page")


def test_canaries_are_nowhere(leaky: None, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="minestudio_nb")
    with OnlineSession("canary", runtime="inline", run_root=tmp_path) as session:
        session.load_config(leaky_config(), [f"+env_config.kwargs.password={OVERRIDE}"])
        session.start_rollout()
        session.start_trainer()
        session.wait(timeout=200.0, iterations=2)
        eventually(lambda: "env_restart" in set(session.events()["kind"]), 100.0, "an environment that failed")
        with pytest.raises(ConfigError) as refused:
            session.set("env_config.kwargs.api_key", LIVE)
        session.checkpoint("here")
        leaks = [*shown_by(session), *found_in(str(refused.value), "a refused edit")]
        session.fork("here", [f"env_config.kwargs.password={FORK}"], name="branch")
        Leaky.faults = 1_000_000
        eventually(lambda: session.status().state == "FAILED", 100.0, "the end by a crash loop")
        session.report()
        leaks += shown_by(session)
        leaks += found_in(session.failure, "failure")
        assert REDACTED in session.failure and "401 for" in session.failure
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    names = {path.name for path in files}
    assert {"config.yaml", "events.jsonl", "run.json", "session.json", "report.html"} <= names
    assert any("tfevents" in name for name in names)
    for path in files:
        data = path.read_bytes()
        leaks += found_in(data, str(path.relative_to(tmp_path)))
        assert not PICKLE.match(data) and path.suffix not in (".pkl", ".pickle", ".pt", ".pth"), path
    leaks += found_in(caplog.text, "the log")
    report = (tmp_path / "canary" / "report.html").read_text()
    leaks += [f"{live} in the report" for live in Markup(report).live]
    assert not leaks
    assert "&lt;img src=x onerror=" in report
    assert REDACTED in (tmp_path / "canary" / "events.jsonl").read_text()


def test_known_secrets_are_taken_out_of_any_text() -> None:
    environment = {"HF_TOKEN": "abcdefgh", "SOME_TOKEN_PATH": "/home/somebody/token", "USER": "somebody", "A_KEY": "us"}
    source = 'API_KEY = "from-source"\nurl = "https://example.org/x"\nkeys = ["not-known"]'
    settings = {
        "kwargs": {"api_keys": ["from-list", "from-list-longer"], "num_tokens": 12345678},
        "name": "a-long-name",
    }
    secrets = Secrets.of(settings, source, environment)
    told = "abcdefgh from-source from-list-longer from-list /home/somebody/token us https://example.org/x a-long-name"
    hidden = secrets.hide({"message": told, "all": [told], "count": 12345678})
    assert hidden["message"] == (
        "<redacted> <redacted> <redacted> <redacted> /home/somebody/token us https://example.org/x a-long-name"
    )
    assert hidden["all"] == [hidden["message"]] and hidden["count"] == 12345678
    assert Secrets().hide(told) is told
    assert secrets.hide_override("+env_config.kwargs.api_key=short") == "+env_config.kwargs.api_key=<redacted>"
    assert secrets.hide_override("env_config.kwargs={x: from-source}") == "env_config.kwargs={x: <redacted>}"
    assert secrets.hide_override("train_config.learning_rate=1e-4") == "train_config.learning_rate=1e-4"
