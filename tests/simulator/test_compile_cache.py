"""Kernels are compiled once per machine."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from minestudio_nb.simulator import cache_folder, compile_cache

TINY = """
import json, sys
from minestudio_nb.simulator.cache_folder import use_cache
folder = use_cache()
from minestudio_nb.simulator import compile_cache
sys.path.insert(0, sys.argv[1])
import tiny_kernel
compile_cache._REGISTERING = ()
compile_cache.register("tiny", lambda: tiny_kernel.add(1, 2))
done = compile_cache.warm_up()
if done.was_complete:
    tiny_kernel.add(1, 2)
hits, misses = compile_cache.cache_counts("tiny_kernel")
print(json.dumps({"folder": str(folder), "complete": done.was_complete, "hits": hits, "misses": misses}))
"""

WHOLE = """
import json
from minestudio_nb.simulator import compile_cache, VoxelSim
done = compile_cache.warm_up()
sim = VoxelSim(obs_size=(64, 64))
sim.reset()
sim.step(sim.noop_action())
sim.render()
hits, misses = compile_cache.cache_counts()
print(json.dumps({"complete": done.was_complete, "hits": hits, "misses": misses}))
"""


def _start(script, cache, *arguments):
    environment = {k: v for k, v in os.environ.items() if k != cache_folder.ENVIRONMENT_KEY}
    environment["XDG_CACHE_HOME"] = str(cache)
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)], env=environment, stdout=subprocess.PIPE, text=True
    )


def _finish(process, timeout):
    out, _ = process.communicate(timeout=timeout)
    assert process.returncode == 0
    return json.loads(out.splitlines()[-1])


def test_two_processes_compile_once_and_a_third_loads(tmp_path):
    kernel = tmp_path / "code" / "tiny_kernel.py"
    kernel.parent.mkdir()
    kernel.write_text("from numba import njit\n\n@njit(cache=True)\ndef add(a, b):\n    return a + b\n")
    both = [_start(TINY, tmp_path / "cache", kernel.parent) for _ in range(2)]
    results = [_finish(process, 60) for process in both]
    assert sorted(result["complete"] for result in results) == [False, True]
    assert sum(result["misses"] for result in results) == 1
    third = _finish(_start(TINY, tmp_path / "cache", kernel.parent), 60)
    assert third["complete"] and third["misses"] == 0 and third["hits"] == 1
    assert third["folder"].startswith(str(tmp_path / "cache"))


@pytest.mark.full
@pytest.mark.timeout(900)
def test_the_simulator_is_compiled_once_by_two_and_not_by_a_third(tmp_path):
    both = [_start(WHOLE, tmp_path) for _ in range(2)]
    results = [_finish(process, 800) for process in both]
    assert sorted(result["complete"] for result in results) == [False, True]
    third = _finish(_start(WHOLE, tmp_path), 60)
    assert third["complete"] and third["misses"] == 0 and third["hits"] > 3


def test_a_lock_that_is_not_freed_is_not_waited_for_for_ever(tmp_path):
    released, holding = threading.Event(), threading.Event()

    def hold():
        with compile_cache._only_one(tmp_path, 5.0) as held:
            assert held
            holding.set()
            released.wait(30.0)

    thread = threading.Thread(target=hold)
    thread.start()
    assert holding.wait(10.0)
    with compile_cache._only_one(tmp_path, 0.2) as held:
        assert not held
    released.set()
    thread.join(10.0)
    with compile_cache._only_one(tmp_path, 10.0) as held:
        assert held


def test_progress_names_each_kernel(tmp_path, monkeypatch):
    monkeypatch.setattr(compile_cache, "use_cache", lambda: tmp_path)
    monkeypatch.setattr(compile_cache, "_REGISTERING", ())
    monkeypatch.setattr(compile_cache, "_registry", {})
    called, shown = [], []
    compile_cache.register("one", lambda: called.append(1))
    compile_cache.register("two", lambda: called.append(2))
    first = compile_cache.warm_up(lambda *step: shown.append(step))
    assert called == [1, 2] and shown == [(1, 2, "one"), (2, 2, "two")] and not first.was_complete
    assert compile_cache.warm_up().was_complete and called == [1, 2]
    compile_cache.register("three", lambda: called.append(3))
    assert not compile_cache.warm_up().was_complete and called[-1] == 3


def test_the_user_decides_on_the_directory(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_folder, "_chosen", None)
    monkeypatch.setenv(cache_folder.ENVIRONMENT_KEY, str(tmp_path))
    assert cache_folder.use_cache() == tmp_path


def test_a_home_that_cannot_be_written_is_replaced(tmp_path, monkeypatch):
    import numba

    monkeypatch.setattr(cache_folder, "_chosen", None)
    monkeypatch.setattr(numba.config, "CACHE_DIR", numba.config.CACHE_DIR)
    monkeypatch.delenv(cache_folder.ENVIRONMENT_KEY, raising=False)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(cache_folder.tempfile, "gettempdir", lambda: str(tmp_path))
    assert cache_folder.use_cache().is_relative_to(tmp_path)
    assert cache_folder.use_cache().is_dir()


def test_the_key_follows_the_sources(tmp_path, monkeypatch):
    (tmp_path / "a.py").write_text("x = 1\n")
    monkeypatch.setattr(cache_folder, "__file__", str(tmp_path / "cache_folder.py"))
    first = cache_folder.cache_key()
    assert cache_folder.cache_key() == first
    (tmp_path / "a.py").write_text("x = 2\n")
    assert cache_folder.cache_key() != first
