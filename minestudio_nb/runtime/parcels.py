"""Large arguments of actors that Ray starts again.

Ray moves an argument of more than 100 kB to the object store and forgets it once the actor has started, so that the
actor cannot start a second time (https://github.com/ray-project/ray/issues/53727). What travels inside the call itself
stays with Ray's control store as long as the actor may come back; a call can carry 10 MB in pieces of less than 100 kB.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import ray
from ray import cloudpickle

__all__ = ["pack", "unpack"]

PIECE_BYTES = 64 * 2**10
CALL_BYTES = 8 * 2**20
"""Of all pieces; the other arguments need a little room too."""


def pack(value: Any) -> list[Any]:
    """Positional arguments that :func:`unpack` makes ``value`` of again.

    What has more than 8 MB when compressed is one object reference instead: the actor can start again as long as the
    caller, which has to keep the list, lives.
    """
    packed = zlib.compress(cloudpickle.dumps(value), level=1)
    if len(packed) > CALL_BYTES:
        return [ray.put(packed)]
    return [packed[start : start + PIECE_BYTES] for start in range(0, len(packed), PIECE_BYTES)]


def unpack(pieces: Sequence[bytes]) -> Any:
    """What :func:`pack` was given."""
    return cloudpickle.loads(zlib.decompress(b"".join(pieces)))
