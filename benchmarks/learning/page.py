"""``docs/learning.md``, from the registry's texts and the raw results alone."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.learning.registry import ROOT, Arm, Experiment, Result, experiments
from benchmarks.learning.runner import RESULTS, newest, read_results
from benchmarks.learning.statistics import bootstrap_interval, iqm, mean_over_steps

__all__ = ["page", "write"]

PAGE = ROOT / "docs" / "learning.md"
KEY_SETTINGS = (
    "policy_config.name",
    "policy_config.args",
    "rollout_config.worker_config.num_envs",
    "rollout_config.fragment_length",
    "train_config.epochs_per_iteration",
    "train_config.context_length",
    "train_config.learning_rate",
    "train_config.anneal_lr_linearly",
    "train_config.discount",
    "train_config.gae_lambda",
    "train_config.ppo_clip",
    "train_config.ppo_vf_coef",
    "train_config.entropy_bonus_coef",
    "train_config.normalize_advantage_full_batch",
)
"""Settings that the page names where they are not at their defaults."""

HEAD = """# Does it learn?

Known environments, several seeds, and published numbers beside ours. Everything here is made by one command from raw
results: each run is a line in `benchmarks/learning/results`, with its curve, evaluations, settings and versions.

```bash
make bench-learning                       # what is missing, cheapest first; may be stopped at any time
python -m benchmarks.learning --list      # what is done, what is missing, and its CPU time
python -m benchmarks.learning --publish   # this page and its pictures from the results
```

`make test` has the quick version: CartPole to a return of 150, and a task of VoxelSim from pixels, in a minute.

**How to read it.** *Evaluated* is the interquartile mean over seeds (of five the middle three, of three all), with
its 95 % bootstrap interval in brackets, as [Agarwal et al. 2021](https://arxiv.org/abs/2108.13264) recommend. What is
averaged is each seed's mean return over held-out episodes, which training never saw, at the end of training and not
at its best. *Greedy* takes the most probable action, *sampled* draws it; the first table has the better of the two
and says which. *Over training* is the mean of a whole curve: it is higher where learning begins earlier. *CPU
seconds* are user and system time of training alone, all processes, one thread each, inline (without Ray): the median
over seeds, on a shared machine with two cores. In the pictures a thin line is a seed, a thick one the interquartile
mean and the band its interval, all of the mean return of the latest 50 training episodes.

**stable-baselines3** gets the same hyperparameters: its arguments are computed from our configuration
(`benchmarks/learning/sb3.py`), with the same networks, activation, initialisation, number of environments, steps, seeds
and held-out episodes. A seed does not mean the same random numbers in both, so compare the middle, not single curves.
Its environments keep Gymnasium's checker, as it makes them; ours do without, which saves some CPU time.
"""


def page(folder: Path = RESULTS) -> str:
    """The whole page."""
    done = {experiment.name: _lines(experiment, folder) for experiment in experiments()}
    shown = [experiment for experiment in experiments() if done[experiment.name]]
    parts = [HEAD, _overview(shown, done)]
    parts += [_section(experiment, done[experiment.name]) for experiment in shown]
    return "\n".join(parts)


def write() -> None:
    """Writes it."""
    PAGE.write_text(page(), encoding="utf-8")


def _lines(experiment: Experiment, folder: Path) -> list[Result]:
    """The lines that count, by arm and seed, of arms that there still are."""
    arms = [arm.name for arm in experiment.arms]
    known = [line for line in newest(read_results(experiment.name, folder)).values() if line["arm"] in arms]
    return sorted(known, key=lambda line: (arms.index(line["arm"]), line["seed"]))


def _overview(shown: Sequence[Experiment], done: dict[str, list[Result]]) -> str:
    rows = ["| experiment | " + " | ".join(("what", "evaluated", "random", "published", "steps", "seeds")) + " |"]
    rows.append("|---|---|---|---|---|---|---|")
    for experiment in shown:
        lines = done[experiment.name]
        for arm in experiment.arms:
            mine = [line for line in lines if line["arm"] == arm.name]
            if not mine:
                continue
            first = mine[0] is lines[0]
            name = f"[{experiment.title}](#{_anchor(experiment.title)})" if first else ""
            numbers = published.value if first and (published := next(iter(experiment.published), None)) else ""
            chance = _chance(lines) if first else ""
            kind = max(("greedy", "sampled"), key=lambda kind: float(iqm(_means(mine, kind))))
            evaluated = f"{_with_interval(_means(mine, kind))} {kind}"
            rows.append(_row(name, arm.title, evaluated, chance, numbers, _steps(mine), f"{len(mine)}"))
    return "\n".join(rows) + "\n"


def _section(experiment: Experiment, lines: Sequence[Result]) -> str:
    picture = experiment.picture.relative_to(ROOT / "docs").as_posix()
    parts = [f"## {experiment.title}", experiment.about, f"![Return over steps]({picture})", _table(experiment, lines)]
    if experiment.details is not None:
        parts.append(experiment.details(lines))
    for published in experiment.published:
        parts.append(f"Published: **{published.value}**, [{published.what}]({published.link}).")
    if experiment.finding:
        parts.append(experiment.finding)
    lacking = _lacking(experiment, lines)
    if lacking:
        parts.append(f"Not run yet: {lacking}.")
    parts.append(_hyperparameters(experiment, lines))
    return "\n\n".join(parts) + "\n"


def _table(experiment: Experiment, lines: Sequence[Result]) -> str:
    extras = experiment.columns
    head = ["", "evaluated, greedy", "evaluated, sampled", "over training", *extras.values()]
    head += ["env steps", "CPU seconds", "seeds"]
    rows = [_row(*head), "|" + "---|" * len(head)]
    for arm in experiment.arms:
        mine = [line for line in lines if line["arm"] == arm.name]
        if mine:
            rows.append(_arm_row(arm, mine, extras))
    chance = _chance(lines)
    if chance:
        own = [_extra([line["random_" + key] for line in lines if "random_" + key in line]) for key in extras]
        rows.append(_row("random policy", "", chance, "", *own, "", "", ""))
    return "\n".join(rows)


def _arm_row(arm: Arm, lines: Sequence[Result], extras: Mapping[str, str]) -> str:
    evaluated = (_with_interval(_means(lines, kind)) for kind in ("greedy", "sampled"))
    over_training = [mean_over_steps(line["curve"]) for line in lines if len(line["curve"][0]) > 1]
    own = (_extra([line[key] for line in lines if key in line]) for key in extras)
    seconds = f"{statistics.median(line['cpu_seconds'] for line in lines):,.0f}"
    training = _with_interval(over_training) if over_training else ""
    return _row(arm.title, *evaluated, training, *own, _steps(lines), seconds, f"{len(lines)}")


def _extra(values: Sequence[float]) -> str:
    return f"{_number(float(iqm(values)))}" if values else ""


def _means(lines: Sequence[Result], kind: str) -> list[float]:
    return [statistics.fmean(line[kind]) for line in lines]


def _with_interval(values: Sequence[float]) -> str:
    middle = f"**{_number(float(iqm(values)))}**"
    if len(values) < 2:
        return middle
    low, high = bootstrap_interval(values)
    return f"{middle} [{_number(float(low))}, {_number(float(high))}]"


def _chance(lines: Sequence[Result]) -> str:
    returns = [value for line in lines for value in line.get("random", ())]
    return _number(statistics.fmean(returns)) if returns else ""


def _number(value: float) -> str:
    """Three digits that matter, none beyond the third after the point."""
    size = abs(value)
    text = f"{value:.0f}" if size >= 199.95 else f"{value:.1f}" if size >= 9.995 else f"{value:.2f}"
    return "0.00" if text == "-0.00" else text


def _steps(lines: Sequence[Result]) -> str:
    counts = sorted({line["env_steps"] for line in lines})
    return f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"


def _lacking(experiment: Experiment, lines: Sequence[Result]) -> str:
    done = {(line["arm"], line["seed"]) for line in lines}
    parts = []
    for arm in experiment.arms:
        seeds = [str(seed) for seed in experiment.seeds if (arm.name, seed) not in done]
        if seeds:
            parts.append(f"{arm.title}, seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}")
    return "; ".join(parts)


def _hyperparameters(experiment: Experiment, lines: Sequence[Result]) -> str:
    settings = lines[0]["settings"]
    keys = dict.fromkeys((*KEY_SETTINGS, *experiment.key_settings))
    named = ", ".join(f"`{_label(key)}` {_setting(settings[key])}" for key in keys if key in settings)
    link = f"[{experiment.config}](../{experiment.config})"
    days = sorted({line["day"] for line in lines})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return f"Settings: {link}, {named}. Run {when}."


def _label(key: str) -> str:
    section, _, name = key.rpartition(".")
    return f"policy {name}" if section == "policy_config" else name


def _setting(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def _anchor(title: str) -> str:
    """As GitHub makes it from a heading."""
    kept = "".join(letter for letter in title.lower() if letter.isalnum() or letter in " -_")
    return kept.replace(" ", "-")


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"
