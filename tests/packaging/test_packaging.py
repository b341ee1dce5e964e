"""What surrounds the code agrees with it: pins, conda environment, Makefile, generated pages, links, imports."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from minestudio_nb.config import compose
from minestudio_nb.config.compose import library_dir

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TEXTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def all_requirements() -> list[str]:
    extras = PROJECT["optional-dependencies"]
    return PROJECT["dependencies"] + [requirement for extra in extras.values() for requirement in extra]


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints-cpu.txt").read_text().splitlines()
    found = {}
    for line in lines:
        if line and not line.startswith("#"):
            match = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", line)
            assert match, f"not a plain name==version: {line!r}"
            found[canonicalize_name(match[1])] = match[2]
    return found


def test_conda_environment_has_what_pyproject_asks_for() -> None:
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (from_pip,) = (entry["pip"] for entry in dependencies if isinstance(entry, dict))
    assert sorted(from_pip) == sorted(all_requirements())
    names = {entry.partition("=")[0]: entry.partition("=")[2] for entry in dependencies if isinstance(entry, str)}
    assert names["openjdk"] == "8", "Minecraft 1.16 runs on Java 8"
    python = PROJECT["requires-python"].removeprefix(">=")
    assert names["python"] == python == "3.11"


def test_every_requirement_is_pinned_at_a_version_that_it_allows() -> None:
    pinned = pins()
    for text in all_requirements():
        requirement = Requirement(text)
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not in constraints-cpu.txt"
        assert requirement.specifier.contains(version, prereleases=True), f"{text} does not allow {version}"


def test_configurations_travel_in_the_wheel_to_where_they_are_looked_for() -> None:
    included = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    source, target = next(iter(included["force-include"].items()))
    assert (ROOT / source).resolve() == library_dir().resolve(), "an installation from sources uses them in place"
    installed = Path(compose.__file__).parent.relative_to(ROOT) / "library"
    assert Path(target) == installed


def test_make_has_the_targets_that_the_readme_names() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = {name for text in TEXTS for name in re.findall(r"(?:^|`)make ([a-z-]+)", text.read_text(), re.MULTILINE)}
    assert {"demo", "lab", "test"} <= named <= targets
    recipes = subprocess.run(
        ["make", "--dry-run", "--always-make", "demo", "test", "lab"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert recipes.returncode == 0, recipes.stderr
    assert "minestudio_nb.run chop_tree" in recipes.stdout


def test_the_ci_script_is_strict_and_asks_nothing() -> None:
    script = ROOT / ".ci" / "run"
    text = script.read_text()
    assert text.startswith("#!/usr/bin/env bash") and os.access(script, os.X_OK)
    for part in ("set -euo pipefail", "DEBIAN_FRONTEND=noninteractive", "MSNB_REQUIRE_BROWSER=1", "make test"):
        assert part in text
    subprocess.run(["bash", "-n", str(script)], check=True, timeout=10)


def test_the_generated_pages_are_current() -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    for name, page in generate.PAGES.items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == page(), f"docs/{name} is old: run `make docs`"


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.name)
def test_links_lead_somewhere(text: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text.read_text()):
        if "://" not in target:
            assert (text.parent / target).exists(), f"{text.name} links to {target}"


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.name)
def test_code_paths_in_the_texts_exist(text: Path) -> None:
    for name in re.findall(r"`((?:minestudio_nb|configs|notebooks|tests|benchmarks|docs)/[\w./-]+)`", text.read_text()):
        assert (ROOT / name).exists(), f"{text.name} names {name}"


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.name)
def test_python_in_the_texts_compiles(text: Path) -> None:
    import ast

    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    for block in re.findall(r"```python\n(.*?)```", text.read_text(), re.DOTALL):
        compile(block, text.name, "exec", flags=flags)


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("minestudio_nb", ("ray", "torch", "numba", "matplotlib")),
        ("minestudio_nb.telemetry", ("ray", "torch", "numba", "tensorboard", "wandb")),
        ("minestudio_nb.runs", ("ray", "torch", "numpy")),
        ("minestudio_nb.widgets.report", ("ray", "torch", "IPython")),
        ("minestudio_nb.widgets.terminal", ("ray", "torch", "matplotlib")),
        ("minestudio_nb.widgets.session_html", ("ray", "torch", "matplotlib")),
        ("minestudio_nb.telemetry.video", ("ray", "torch", "matplotlib")),
    ],
)
def test_importing_stays_light(module: str, forbidden: tuple[str, ...]) -> None:
    code = f"import sys, {module}; sys.exit(', '.join({{*{forbidden!r}}} & set(sys.modules)) or 0)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert result.returncode == 0, f"importing {module} also loads {result.stderr.strip()}"


def test_the_public_names_are_these_and_each_is_there() -> None:
    import minestudio_nb as ms

    assert (
        sorted(ms.__all__)
        == dir(ms)
        == [
            "OnlineSession",
            "__version__",
            "compare",
            "doctor",
            "lineage",
            "load_config",
            "load_demonstration",
            "plan",
            "play",
            "runs",
        ]
    )
    for name in ms.__all__:
        value = getattr(ms, name)
        assert isinstance(value, str) or callable(value), name
    with pytest.raises(AttributeError, match="has no attribute 'run_all'"):
        ms.run_all  # noqa: B018


def test_runs_stays_callable_when_the_package_of_that_name_is_imported() -> None:
    code = (
        "import minestudio_nb as ms; ms.runs('x'); import minestudio_nb.runs; from minestudio_nb import runs; runs('x')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, cwd=ROOT)
