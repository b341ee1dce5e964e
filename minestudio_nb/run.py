"""The headless entry point: ``python -m minestudio_nb.run CONFIG [overrides]``.

Does what a notebook does with :class:`OnlineSession`: loads, shows the plan, starts rollout and training, shows
progress on the terminal until training ends, and stops cleanly on Ctrl-C and SIGTERM. With ``--report`` it also plays
held-out episodes before and after training, and writes videos, curves, ``report.html`` and ``summary.json``.

Exit status: 0 training finished (and reached ``train_config.target_return`` where one is set), 1 it did not, 2 the
configuration or the machine does not allow the run, 128 + n ended by signal n.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from types import FrameType

from minestudio_nb.config import Resources, check, load_config, plan
from minestudio_nb.errors import ConfigError, EnvError, MineStudioError, ResourceError, RunError
from minestudio_nb.runtime import nodes_at
from minestudio_nb.session import OnlineSession
from minestudio_nb.widgets.terminal import TerminalDisplay

__all__ = ["main"]

REFRESH_SECONDS = 0.5


class _EndedBySignal(BaseException):
    """Raised in the main thread by SIGINT or SIGTERM, wherever it is."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit status."""
    options = _parser().parse_intermixed_args(arguments)
    display = TerminalDisplay(sys.stdout)
    try:
        if options.plan:
            return _show_plan(options, display)
        session = OnlineSession(
            options.name,
            address=options.address,
            runtime=options.runtime,
            run_root=options.run_root,
            detached=options.detach,
        )
    except ConfigError as error:
        display.line(f"ConfigError: {error}")
        return 2
    with _signals_raise() as ignore_signals:
        try:
            return _run(session, options, display)
        except _EndedBySignal as ended:
            ignore_signals()
            display.line(f"{signal.Signals(ended.number).name}: stopping")
            return 128 + ended.number
        except (ConfigError, ResourceError, EnvError, RunError) as error:
            display.line(f"{type(error).__name__}: {error}")
            return 2
        except MineStudioError as error:
            display.line(f"{type(error).__name__}: {error}")
            return 1
        finally:
            ignore_signals()
            display.close()
            report = session.stop()
            if session.name is not None:
                display.line(str(report))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m minestudio_nb.run", description=__doc__.split("\n\n")[0])
    parser.add_argument("config", help="name of a configuration, or path of a YAML or Python file")
    parser.add_argument("overrides", nargs="*", help="Hydra overrides such as train_config.learning_rate=1e-4")
    parser.add_argument("--name", help="name of the run (default: configuration and time)")
    parser.add_argument("--runtime", choices=("ray", "inline"), default="ray")
    parser.add_argument("--address", help="Ray cluster to use (default: one of its own)")
    parser.add_argument("--run-root", default="runs", help="directory of run directories (default: runs)")
    parser.add_argument("--resume", help="checkpoint directory, or name of a run, to go on from")
    parser.add_argument(
        "--detach", action="store_true", help="keep the session alive when this process ends without stopping it"
    )
    parser.add_argument("--replace", action="store_true", help="delete an earlier run of the same name first")
    parser.add_argument(
        "--report", action="store_true", help="play held-out episodes before and after; write report and summary"
    )
    parser.add_argument("--episodes", type=int, default=20, help="held-out episodes for --report (default: 20)")
    parser.add_argument("--plan", action="store_true", help="show what would run where, and end")
    return parser


def _show_plan(options: argparse.Namespace, display: TerminalDisplay) -> int:
    """Shows the plan, and then what this machine lacks for it; status 2 if that is so."""
    loaded = load_config(options.config, options.overrides)
    elsewhere = options.address is not None
    resources = Resources.detect()
    if elsewhere:
        nodes = nodes_at(options.address)
        shown = plan(loaded.config, resources, env=loaded.env, policy=loaded.policy, elsewhere=True, nodes=nodes)
    else:
        shown = plan(loaded.config, resources, env=loaded.env, policy=loaded.policy)
    display.line(str(shown))
    if shown.missing or (elsewhere and isinstance(nodes, str)):
        return 2
    problems = [] if elsewhere else check(loaded.config, resources, own_env=loaded.env.kind != "env_config")
    for problem in problems:
        display.line(f"{problem.severity}: {problem}")
    return 2 if any(problem.severity == "error" for problem in problems) else 0


def _run(session: OnlineSession, options: argparse.Namespace, display: TerminalDisplay) -> int:
    display.line(str(session.load_config(options.config, options.overrides, resume=options.resume)))
    if options.replace and options.name is not None:
        _remove_earlier(session, options.name)
    began = time.time()
    display.line("Starting workers and environments ...")
    session.start_rollout()
    if options.report:
        display.line(f"Playing {options.episodes} held-out episodes with a random policy ...")
        before = session.evaluate(options.episodes, random_policy=True, record=options.episodes, label="before")
        display.line(f"A random policy returns {before.mean_return:.2f}.")
    session.start_trainer()
    _watch(session, display)
    if options.report:
        display.line(f"Playing {options.episodes} held-out episodes with the trained policy ...")
        after = session.evaluate(options.episodes, deterministic=False, record=options.episodes, label="after")
        display.line(f"The trained policy returns {after.mean_return:.2f}.")
    session.stop()
    if options.report:
        from minestudio_nb.reporting import write_summary

        display.line(f"Report: {session.report()}")
        display.line(f"Summary: {write_summary(session, seconds=time.time() - began)}")
    return 0 if session.reached_target() else 1


def _watch(session: OnlineSession, display: TerminalDisplay) -> None:
    """Shows progress until training has ended; raises TrainingError when it failed."""
    waiter = threading.Event()
    while True:
        status = session.status()
        display.update(status, session.points, session.config.config)
        if status.state not in ("TRAINING", "PAUSED"):
            break
        waiter.wait(REFRESH_SECONDS)
    if status.state != "STOPPED":  # by another process
        session.wait(timeout=1.0)


def _remove_earlier(session: OnlineSession, name: str) -> None:
    """Deletes the run directory of an earlier run, unless its cluster is alive."""
    import shutil

    from minestudio_nb.runs import RunDirectory

    root = session.run_root
    if any(found.alive and found.name == name for found in OnlineSession.list(root)):
        raise RunError(f"run {name!r} is alive; attach to it and stop it, or choose another --name")
    directory = RunDirectory(root, name).path
    if directory.is_dir():
        shutil.rmtree(directory)


@contextlib.contextmanager
def _signals_raise() -> Iterator[object]:
    """SIGINT and SIGTERM raise :class:`_EndedBySignal`; yields a function after which both are ignored."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    earlier = {number: signal.getsignal(number) for number in numbers}

    def raise_once(number: int, frame: FrameType | None) -> None:
        ignore()
        raise _EndedBySignal(number)

    def ignore() -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)

    for number in numbers:
        signal.signal(number, raise_once)
    try:
        yield ignore
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
