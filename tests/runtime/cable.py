"""Two machines for tests: network namespaces, joined by a cable that delays packets and can be cut.

The cable is a TUN device in each namespace and a thread that passes packets on; so it needs no qdisc from the kernel.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import os
import select
import struct
import subprocess
import threading
import time
from collections.abc import Sequence

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
TUN_WITHOUT_HEADER = 0x1001
PACKET = 65536


class Cable:
    """Namespaces ``near`` and ``far`` with the addresses 10.77.0.1 and 10.77.0.2, ``delay`` seconds apart."""

    near, far = "10.77.0.1", "10.77.0.2"

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.is_cut = threading.Event()
        self.passed = 0
        """Packets that went through."""
        self._closed = threading.Event()
        self._names = [f"msnb{os.getpid()}{end}" for end in ("near", "far")]
        for name in self._names:
            _ip("netns", "add", name)
        try:
            self._ends = [_tun(name) for name in self._names]
            for name, address in zip(self._names, (self.near, self.far), strict=True):
                for words in (f"addr add {address}/24 dev cable", "link set cable up", "link set lo up"):
                    _ip("-n", name, *words.split())
        except BaseException:
            self._remove()
            raise
        self._thread = threading.Thread(target=self._pass_on, daemon=True)
        self._thread.start()

    def at(self, end: str) -> list[str]:
        """What comes before a command that shall run at the end ``"near"`` or ``"far"``."""
        return ["ip", "netns", "exec", self._names[("near", "far").index(end)]]

    def close(self) -> None:
        """Removes everything."""
        self._closed.set()
        self._thread.join(timeout=10.0)
        for end in self._ends:
            os.close(end)
        self._remove()

    def _pass_on(self) -> None:
        under_way: list[tuple[float, int, int, bytes]] = []
        other = {self._ends[0]: self._ends[1], self._ends[1]: self._ends[0]}
        while not self._closed.is_set():
            wait = max(0.0, min(0.1, under_way[0][0] - time.monotonic())) if under_way else 0.1
            for end in select.select(self._ends, [], [], wait)[0]:
                packet = os.read(end, PACKET)
                if not self.is_cut.is_set():
                    self.passed += 1
                    heapq.heappush(under_way, (time.monotonic() + self.delay, self.passed, other[end], packet))
            while under_way and under_way[0][0] <= time.monotonic():
                os.write(under_way[0][2], under_way[0][3])
                heapq.heappop(under_way)

    def _remove(self) -> None:
        for name in self._names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def why_impossible() -> str:
    """Why this machine cannot have a :class:`Cable`; empty where it can."""
    try:
        Cable(0.0).close()
    except (OSError, subprocess.CalledProcessError) as error:
        said = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else error
        return f"no network namespaces or TUN devices here: {said}"
    return ""


def _ip(*arguments: str) -> Sequence[str]:
    done = subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=30)
    return done.stdout.splitlines()


def _tun(namespace: str) -> int:
    """A TUN device ``cable`` in the namespace; the calling thread is in its own one again afterwards."""
    libc = ctypes.CDLL(None, use_errno=True)
    own, target = os.open("/proc/thread-self/ns/net", os.O_RDONLY), os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if libc.setns(target, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        try:
            end = os.open("/dev/net/tun", os.O_RDWR)
            fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH22x", b"cable", TUN_WITHOUT_HEADER))
        finally:
            libc.setns(own, CLONE_NEWNET)
    finally:
        os.close(own)
        os.close(target)
    return end
