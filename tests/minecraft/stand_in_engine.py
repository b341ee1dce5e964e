"""A process that speaks the protocol of MineStudio's game engine: enough of a world to develop and test without Java.

Run by a shim called ``java`` as ``java -Xmx2G -jar JAR --envPort=PORT``. Standard library only.

Messages are a length (4 bytes, big endian) and that many bytes. On a connection comes ``<MalmoEnv.../>`` first, then

- a mission (XML) and a token ``uid:role:resets:agents:synchronous[:seed]``   -> 1
- ``<Peek/>``                                                                  -> pixels, JSON, done (1 byte)
- ``<StepClient0>verb value\n...</StepClient0 >``  -> pixels, reward done sent (double, 2 bytes), JSON
- ``<StepServer></StepServer>``, ``<Disconnect/>``                             -> nothing
- ``<Quit/>``                                                                  -> 1
- ``<Exit>NOW</Exit>``                                                         -> 1, and the process ends

The folder ``STAND_IN`` tells what shall go wrong and what happened. A file ``fault-KIND[-anything]`` is taken by the
first engine that comes to it, and holds a number: ``late`` seconds before the engine is ready; ``hang``, ``drop``
(the connection) and ``crash`` after that many steps; ``die`` the player after that many steps. ``engine-PID.log``
has one JSON line for each thing that happened.
"""

from __future__ import annotations

import json
import math
import os
import re
import socket
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ["STAND_IN"])
AIR_FROM = 64


def log(event: str, **data: Any) -> None:
    with (FOLDER / f"engine-{os.getpid()}.log").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"event": event, "time": time.time(), **data}) + "\n")


def take_fault(kind: str) -> float | None:
    """The number of a fault of this kind, which nobody else gets then."""
    for path in sorted(FOLDER.glob(f"fault-{kind}*")):
        mine = path.with_name(f"taken-{path.name}-{os.getpid()}")
        try:
            path.rename(mine)
        except FileNotFoundError:
            continue
        log("fault", kind=kind)
        return float(mine.read_text(encoding="ascii") or 0)
    return None


def send(connection: socket.socket, payload: bytes) -> None:
    connection.sendall(struct.pack("!I", len(payload)) + payload)


def receive(connection: socket.socket) -> bytes | None:
    head = exactly(connection, 4)
    return None if head is None else exactly(connection, struct.unpack("!I", head)[0])


def exactly(connection: socket.socket, count: int) -> bytes | None:
    data = bytearray()
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            return None
        data += part
    return bytes(data)


class World:
    """One player on a plain of stone: it turns, walks, holds what it was given, and counts what it did."""

    def __init__(self, mission: str, seed: int | None) -> None:
        width, height = (re.search(rf"<{tag}>(\d+)\s*</{tag}>", mission) for tag in ("Width", "Height"))
        self.width, self.height = int(width[1]) if width else 640, int(height[1]) if height else 360
        self.seed = seed
        self.ticks = 0
        self.food = 20
        self.done = False
        self.inventory = {slot: ("none", 0) for slot in range(41)}
        slots = re.findall(r'<InventoryObject slot="(\d+)" type="([a-z_]+)" quantity="(\d+)"', mission)
        self.inventory |= {int(slot): (kind, int(count)) for slot, kind, count in slots}
        self.stats: dict[str, dict[str, int]] = {"mine_block": {}, "use_item": {}, "custom": {"play_one_minute": 0}}
        self.respawn()

    def respawn(self) -> None:
        self.x, self.y, self.z, self.yaw, self.pitch, self.health = 0.5, float(AIR_FROM), 0.5, 0.0, 0.0, 20.0
        self.obsidian: set[tuple[int, int, int]] = set()

    def act(self, verbs: dict[str, list[str]]) -> dict[str, Any]:
        """One tick; returns what was asked for besides the usual."""
        self.ticks += 1
        self.stats["custom"]["play_one_minute"] += 1
        turn = [float(value) for value in verbs.get("camera", ["0 0"])[-1].split()]
        self.pitch = max(-90.0, min(90.0, self.pitch + turn[0]))
        self.yaw = (self.yaw + turn[1] + 180.0) % 360.0 - 180.0
        ahead = pressed(verbs, "forward") - pressed(verbs, "back")
        self.x -= 0.2 * ahead * math.sin(math.radians(self.yaw))
        self.z += 0.2 * ahead * math.cos(math.radians(self.yaw))
        if pressed(verbs, "attack"):
            self.count("mine_block", "oak_log")
        if pressed(verbs, "use"):
            self.place()
        if pressed(verbs, "drop"):
            log("dropped")
        for command in verbs.get("chat", []):
            self.command(command)
        asked: dict[str, Any] = {}
        if "voxels" in verbs:
            asked["voxels"] = self.voxels(*(int(n) for n in verbs["voxels"][-1].split(",")))
        return asked

    def place(self) -> None:
        kind, count = self.inventory[40]
        if kind == "obsidian" and count:
            self.inventory[40] = (kind, count - 1)
            self.obsidian.add((len(self.obsidian) % 4, 0, 2))
            self.count("use_item", "obsidian")

    def count(self, event: str, name: str) -> None:
        self.stats[event][name] = self.stats[event].get(name, 0) + 1

    def command(self, text: str) -> None:
        log("chat", text=text)
        words = text.lstrip("/").split()
        if words[0] == "give":
            free = next(slot for slot in range(36) if self.inventory[slot][0] == "none")
            self.inventory[free] = (words[2].removeprefix("minecraft:"), int(words[3]) if len(words) > 3 else 1)
        elif words[0] == "replaceitem":
            slot = {"weapon.offhand": 40, "weapon.mainhand": 0}.get(words[3], 0)
            self.inventory[slot] = (words[4].removeprefix("minecraft:"), int(words[5]))
        elif words == ["kill"]:
            self.inventory = {slot: ("none", 0) for slot in range(41)}
            self.respawn()

    def voxels(self, x0: int, x1: int, y0: int, y1: int, z0: int, z1: int) -> list[dict[str, Any]]:
        def kind(x: int, y: int, z: int) -> str:
            return "obsidian" if (x, y, z) in self.obsidian else "air" if y >= 0 else "stone"

        return [
            {"x": x, "y": y, "z": z, "type": kind(x, y, z)}
            for x in range(x0, x1 + 1)
            for y in range(y0, y1 + 1)
            for z in range(z0, z1 + 1)
        ]

    def pixels(self) -> bytes:
        """Sky over ground, the horizon where the pitch puts it; the lowest row comes first."""
        horizon = int(self.height * (0.5 + self.pitch / 180.0))  # rows of ground from below
        ground = bytes((90, 120 + self.ticks % 64, 60)) * self.width
        sky = bytes((120, 170, int(self.yaw) % 256)) * self.width
        return ground * max(0, min(self.height, horizon)) + sky * max(0, min(self.height, self.height - horizon))

    def observation(self) -> dict[str, Any]:
        items = [{"slot_id": slot, "type": kind, "quantity": n} for slot, (kind, n) in self.inventory.items()]
        held = {"mainhand": 0, "offhand": 40, "head": 39, "chest": 38, "legs": 37, "feet": 36}
        worn = {
            place: json.dumps({"type": self.inventory[slot][0].replace("none", "air"), "damage": 0, "maxDamage": 0})
            for place, slot in held.items()
        }
        place = {"xpos": self.x, "ypos": self.y, "zpos": self.z, "yaw": self.yaw, "pitch": self.pitch}
        return {**place, "isGuiOpen": False, "health": self.health, "food_level": self.food, "inventory": items,
                "equipped_items": worn, **self.stats}  # fmt: skip


def pressed(verbs: dict[str, list[str]], name: str) -> int:
    return int(verbs.get(name, ["0"])[-1])


class Engine:
    def __init__(self) -> None:
        self.world: World | None = None
        self.steps = 0
        self.hang, self.drop, self.crash, self.die = (take_fault(kind) for kind in ("hang", "drop", "crash", "die"))

    def serve(self, connection: socket.socket) -> None:
        """One connection, from its hello to its end."""
        mission = ""
        while (data := receive(connection)) is not None:
            text = data.decode()
            if text.startswith("<StepClient"):
                if not self.step(connection, text):
                    return
            elif text.startswith("<MissionInit") or "<MissionInit" in text[:200]:
                mission = text
            elif re.match(r"[0-9a-f-]{36}:\d", text):
                self.begin(mission, text)
                send(connection, struct.pack("!I", 1))
            elif text == "<Peek/>":
                assert self.world is not None
                send(connection, self.world.pixels())
                send(connection, json.dumps(self.world.observation()).encode())
                send(connection, struct.pack("!b", 0))
            elif text == "<Quit/>":
                send(connection, struct.pack("!I", 1))
            elif text.startswith("<Exit>"):
                log("exit")
                send(connection, struct.pack("!I", 1))
                os._exit(0)

    def begin(self, mission: str, token: str) -> None:
        parts = token.split(":")
        self.world = World(mission, int(parts[5]) if len(parts) > 5 else None)
        biome = re.search(r"<PreferredSpawnBiome>([^<]*)|<biome>([^<]*)", mission)
        log("mission", seed=self.world.seed, size=[self.world.width, self.world.height], biome=bool(biome))

    def step(self, connection: socket.socket, text: str) -> bool:
        """Answers a step; False where the connection is dropped instead."""
        world = self.world
        assert world is not None
        self.steps += 1
        if self.hang is not None and self.steps > self.hang:
            log("hanging")
            threading.Event().wait()
        if self.drop is not None and self.steps > self.drop:
            self.drop = None
            connection.close()
            return False
        if self.crash is not None and self.steps > self.crash:
            os._exit(3)
        verbs: dict[str, list[str]] = {}
        for line in text.removeprefix("<StepClient0>").removesuffix("</StepClient0 >").splitlines():
            verb, _, value = line.partition(" ")
            verbs.setdefault(verb, []).append(value)
        asked = world.act(verbs)
        if self.die is not None and self.steps > self.die:
            self.die, world.done, world.health = None, True, 0.0
        send(connection, world.pixels())
        send(connection, struct.pack("!dbb", 0.0, world.done, 1))
        send(connection, json.dumps({**world.observation(), **asked}).encode())
        return True


def main() -> None:
    wanted = next(int(argument.partition("=")[2]) for argument in sys.argv if argument.startswith("--envPort="))
    log("start", port=wanted, parent=os.getppid())
    late = take_fault("late")
    if late:
        threading.Event().wait(late)
    server = socket.create_server(("localhost", wanted))
    print(f"[main/INFO] ***** Start MalmoEnvServer on port {wanted}", flush=True)
    print("[main/INFO] CLIENT enter state: DORMANT", flush=True)
    log("ready")
    engine = Engine()
    while True:
        connection, _ = server.accept()
        threading.Thread(target=engine.serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
