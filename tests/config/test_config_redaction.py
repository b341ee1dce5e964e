"""Secrets do not survive into what is saved or shown."""

from __future__ import annotations

import pytest

from minestudio_nb.config import redact, redact_text
from minestudio_nb.config.redaction import REDACTED


def test_plain_data() -> None:
    value = {
        "api_key": "canary",
        "WANDB_TOKEN": ["canary", {"x": "canary"}],
        "nested": [{"password": 1234, "Secret_word": "canary"}],
        "num_tokens": 128,
        "token": None,
        "use_key": True,
        "name": "kept",
    }
    hidden = redact(value)
    assert "canary" not in str(hidden) and "1234" not in str(hidden)
    assert hidden["num_tokens"] == 128
    assert hidden["token"] is None and hidden["use_key"] is True and hidden["name"] == "kept"
    assert value["api_key"] == "canary"


@pytest.mark.parametrize(
    "source",
    [
        'API_KEY = "canary"',
        "config['api_key'] = 'canary'",
        'x = {"token": "canary", "b": 1}',
        "wandb.login(api_key='canary')",
        'key: str = "canary"',
        '# password = "canary"',
        'token = r"canary"',
        'secret = """line\ncanary\n"""',
        'token = ("ab" "canary")',
        "password = 12345678",
        '"api_key":\n    "canary"',
    ],
)
def test_python_source(source: str) -> None:
    hidden = redact_text(source)
    assert "canary" not in hidden and "12345678" not in hidden
    assert REDACTED in hidden


@pytest.mark.parametrize(
    "source",
    ["num_tokens = 128", "token = None", "key = compute()", 'name = "kept"', "for key in keys: pass", 'token = ""'],
)
def test_python_source_without_secrets_stays(source: str) -> None:
    assert redact_text(source) == source
