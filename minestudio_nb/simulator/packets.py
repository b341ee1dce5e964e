"""Rows of rays at once: the first slab in which each may meet something, for pieces of a row of the frame.

In most pixels that slab (see ``clearance``) holds what the pixel shows: a face of a whole, opaque block. These loops
find it, its texel and its light without a branch, so that the compiler turns them into vector instructions; what is not
of that kind is left to ``walk``. Loads from tables that depend on data stand in loops of their own.

All rays of a piece go along the same larger axis in the same direction, its *major* axis; positions and distances are
measured along it. Intermediate results lie in ``floats`` and ``cells``, one run of ``PIECE`` entries for each name.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit, uint32, uint64

from minestudio_nb.simulator.clearance import (
    BANDS,
    BANDS_PER_SLOPE,
    SECTOR_EAST,
    SECTOR_NORTH,
    SECTOR_SOUTH,
    SECTOR_WEST,
    STEEPEST,
    find_clear,
)
from minestudio_nb.simulator.intrinsics import highest_bit, lowest_bit, select
from minestudio_nb.simulator.textures import FACES, TEXELS, TILE_TEXELS

F: Final = np.float32
ZERO, ONE = F(0), F(1)
_TINY: Final = F(1e-9)
_BIT: Final = np.uint64(1)
_NONE: Final = np.uint64(0)
_FAST: Final = {"cache": True, "nogil": True, "fastmath": True, "error_model": "numpy", "_nrt": False}

PIECE: Final = 64
"""Most pixels of a piece."""

# floats: float32[FLOATS]. Distances along the major axis, but for DEPTH (along the view axis).
INVERSE: Final = 0 * PIECE  # 1 / length of the direction along the major axis
LENGTH: Final = 1 * PIECE
RATIO: Final = 2 * PIECE  # minor over major component
INVERSE_RATIO: Final = 3 * PIECE
BEGIN: Final = 4 * PIECE  # where the ray enters the slab
LIMIT: Final = 5 * PIECE
END: Final = 6 * PIECE  # where it leaves the slab, or ends
MET_AT: Final = 7 * PIECE
SAFE: Final = 8 * PIECE  # up to here nothing is met
DEPTH: Final = 9 * PIECE
RED: Final = 10 * PIECE
GREEN: Final = 11 * PIECE
BLUE: Final = 12 * PIECE
FLOATS: Final = 13 * PIECE

# cells: int64[CELLS].
SLAB: Final = 0 * PIECE
MINOR: Final = 1 * PIECE  # cell along the minor axis, at the beginning and at the end of the slab
MINOR_END: Final = 2 * PIECE
Y: Final = 3 * PIECE
Y_END: Final = 4 * PIECE
NEAR: Final = 5 * PIECE  # columns of the two, and their masks
FAR: Final = 6 * PIECE
NEAR_MASK: Final = 7 * PIECE
FAR_MASK: Final = 8 * PIECE
KIND: Final = 9 * PIECE
COLUMN: Final = 10 * PIECE  # of the block that is met, and its height and face
HEIGHT: Final = 11 * PIECE
FACE: Final = 12 * PIECE
BEFORE: Final = 13 * PIECE  # column of the open cell in front of that face
TEXEL: Final = 14 * PIECE
TOP: Final = 15 * PIECE
PLAIN: Final = 16 * PIECE  # of the block: 0 not a whole opaque one, PLAIN_BLOCK, PLAIN_GLOWING
HARD: Final = 17 * PIECE  # pixels left to the walk
EMPTY: Final = 18 * PIECE  # pixels that show the sky
PIXEL: Final = 19 * PIECE  # of the piece, for rays that were moved to other arrays
EASY: Final = 20 * PIECE  # 1: the pixel shows what was met in the slab
CELLS: Final = 21 * PIECE

KIND_SKY: Final = 0
KIND_ON: Final = 1  # nothing in this slab
KIND_MET: Final = 2
PLAIN_BLOCK: Final = 1
PLAIN_GLOWING: Final = 2

# Faces, as in ``walk`` and in the order of FACES.
_SIDE_X: Final = 0
_TOP: Final = 1
_SIDE_Z: Final = 2
_BOTTOM: Final = 3
_BEHIND: Final = F(0.01)


class Piece(NamedTuple):
    """The rays of some neighbouring pixels of a row, of one sector."""

    first: Any  # column of the first pixel
    count: Any
    columns: Any  # of the whole frame
    tan_h: Any
    sector: Any
    dy: Any  # of the directions; major and minor components grow linearly with u
    inv_dy: Any
    major_0: Any
    major_u: Any
    minor_0: Any
    minor_u: Any
    oy: Any
    o_minor: Any
    eye: Any  # the eye's cell along the major axis, and the distance to its edge
    edge: Any
    step: Any  # 1 or -1
    mask_major: Any
    mask_minor: Any
    stride_major: Any
    stride_minor: Any
    side_major: Any  # face that is met across the major axis
    side_minor: Any


@njit(**_FAST)
def sector_of(dx, dz):
    """The larger horizontal axis of a direction, and its sign."""
    if abs(dx) > abs(dz):
        return SECTOR_EAST if dx > ZERO else SECTOR_WEST
    return SECTOR_SOUTH if dz > ZERO else SECTOR_NORTH


@njit(**_FAST)
def _sector_at(i, columns, tan_h, row_x, row_z, right_x, right_z):
    u = (F(2 * i + 1) / F(columns) - ONE) * tan_h
    return sector_of(row_x + right_x * u, row_z + right_z * u)


@njit(**_FAST)
def next_piece(first, columns, tan_h, row_x, row_y, row_z, right_x, right_z, ox, oy, oz, size_x, size_z):
    """The longest piece that begins at a pixel: the sectors of a row's pixels are intervals."""
    sector = _sector_at(first, columns, tan_h, row_x, row_z, right_x, right_z)
    inside, outside = first, min(first + PIECE, columns)
    if _sector_at(outside - 1, columns, tan_h, row_x, row_z, right_x, right_z) == sector:
        inside = outside - 1
    while outside - inside > 1:
        middle = (inside + outside) >> 1
        if _sector_at(middle, columns, tan_h, row_x, row_z, right_x, right_z) == sector:
            inside = middle
        else:
            outside = middle
    along_x, forward = sector <= SECTOR_WEST, (sector & 1) == 0
    o_major, o_minor = (ox, oz) if along_x else (oz, ox)
    eye = np.int64(o_major)
    dy = row_y if abs(row_y) > _TINY else _TINY
    sign = ONE if forward else -ONE
    return Piece(
        first, outside - first, columns, tan_h, sector, dy, ONE / dy,
        sign * (row_x if along_x else row_z), sign * (right_x if along_x else right_z),
        row_z if along_x else row_x, right_z if along_x else right_x,
        oy, o_minor, eye, F(eye + 1) - o_major if forward else o_major - F(eye), 1 if forward else -1,
        size_x - 1 if along_x else size_z - 1, size_z - 1 if along_x else size_x - 1,
        size_z if along_x else 1, 1 if along_x else size_z,
        _SIDE_X if along_x else _SIDE_Z, _SIDE_Z if along_x else _SIDE_X,
    )  # fmt: skip


@njit(**_FAST)
def whole(count):
    """A number of rays, rounded up so that no loop has a rest to do one by one. What it computes there is not used."""
    return (count + 15) & ~15


@njit(**_FAST)
def aim(p, count, wedges, floats, cells):
    """The directions of the rays, and (in SLAB) where ``clear`` has their bounds."""
    half = F(0.5) * F(wedges)
    for i in range(whole(count)):
        u = (F(2 * (p.first + i) + 1) / F(p.columns) - ONE) * p.tan_h
        length = max(p.major_0 + p.major_u * u, _TINY)
        minor = p.minor_0 + p.minor_u * u
        minor = select(abs(minor) > _TINY, minor, _TINY)
        inverse = ONE / length
        ratio = minor * inverse
        slope = min(max(p.dy * inverse, -STEEPEST), STEEPEST)
        band = select(abs(slope) < STEEPEST, np.int64((slope + STEEPEST) * BANDS_PER_SLOPE) + np.int64(1), np.int64(0))
        wedge = min(max(np.int64((ratio + ONE) * half), 0), wedges - 1) + p.sector * wedges
        floats[INVERSE + i] = inverse
        floats[LENGTH + i] = length
        floats[RATIO + i] = ratio
        floats[INVERSE_RATIO + i] = length / minor
        cells[SLAB + i] = wedge * BANDS + band


@njit(**_FAST)
def skip_clear(p, count, masks, size_x, size_z, ox, oz, top, slabs, wedges, ready, clear, cells):
    """The first slab that may hold something, for each ray; makes the wedges that are not there yet."""
    for i in range(count):
        key = uint64(cells[SLAB + i])
        wedge = key // uint64(BANDS)
        if not ready[wedge]:
            find_clear(masks, size_x, size_z, ox, p.oy, oz, top, slabs, np.int64(wedge), wedges, clear)
            ready[wedge] = 1
        cells[SLAB + i] = clear[key]


@njit(**_FAST)
def enter(p, count, bound, far, floats, cells):
    """Where the rays go through their slabs: one column, or two."""
    for i in range(whole(count)):
        ratio, slab, length = floats[RATIO + i], cells[SLAB + i], floats[LENGTH + i]
        ny = p.dy * floats[INVERSE + i]
        limit = min((bound - p.oy) * p.inv_dy, far) * length
        begin = max(p.edge + F(slab - 1), ZERO)
        end = max(min(p.edge + F(slab), limit), begin)
        minor, minor_end = np.int64(p.o_minor + ratio * begin), np.int64(p.o_minor + ratio * end)
        base = ((p.eye + slab * p.step) & p.mask_major) * p.stride_major
        floats[BEGIN + i], floats[END + i], floats[LIMIT + i] = begin, end, limit
        cells[Y + i] = min(np.int64(max(p.oy + ny * begin, ZERO)), 63)
        cells[Y_END + i] = min(np.int64(max(p.oy + ny * end, ZERO)), 63)
        cells[MINOR + i], cells[MINOR_END + i] = minor, minor_end
        cells[NEAR + i] = base + (minor & p.mask_minor) * p.stride_minor
        cells[FAR + i] = base + (minor_end & p.mask_minor) * p.stride_minor


@njit(**_FAST)
def load_masks(count, masks, cells):
    """The masks of the columns."""
    for i in range(count):
        cells[NEAR_MASK + i] = np.int64(masks[uint64(cells[NEAR + i])])
        cells[FAR_MASK + i] = np.int64(masks[uint64(cells[FAR + i])])


@njit(**_FAST)
def _span(a, b):
    """Bits a to b, in either order."""
    return ((_BIT << _BIT << uint64(abs(a - b))) - _BIT) << uint64(min(a, b))


@njit(**_FAST)
def meet(p, count, floats, cells):
    """What the rays meet in their slabs: block and face, and the column in front of it."""
    up = p.dy > ZERO
    flat, rise = np.int64(_BOTTOM if up else _TOP), F(0) if up else F(1)
    side_major, side_minor = np.int64(p.side_major), np.int64(p.side_minor)
    for i in range(whole(count)):
        ratio, slab = floats[RATIO + i], cells[SLAB + i]
        begin, end, limit = floats[BEGIN + i], floats[END + i], floats[LIMIT + i]
        y, y_end, minor, minor_end = cells[Y + i], cells[Y_END + i], cells[MINOR + i], cells[MINOR_END + i]
        ny, inverse_y = p.dy * floats[INVERSE + i], p.inv_dy * floats[LENGTH + i]
        one = minor == minor_end
        crossing = (F(minor + np.int64(ratio > ZERO)) - p.o_minor) * floats[INVERSE_RATIO + i]
        crossing = max(min(crossing, end), begin)
        y_cross = select(one, y_end, min(np.int64(max(p.oy + ny * crossing, ZERO)), 63))
        own = select(begin == ZERO, _BIT << uint64(y), _NONE)  # the cell that holds the eye is not looked at
        found_near = uint64(cells[NEAR_MASK + i]) & _span(y, y_cross) & ~own
        found_far = select(one, _NONE, uint64(cells[FAR_MASK + i]) & _span(y_cross, y_end))
        in_near = found_near != _NONE
        found = select(in_near, found_near, found_far)
        height = select(up, lowest_bit(found), highest_bit(found)) & np.int64(63)
        enters = height == select(in_near, y, y_cross)
        at = select(enters, select(in_near, begin, crossing), (F(height) + rise - p.oy) * inverse_y)
        face = select(enters, select(in_near, side_major, side_minor), flat)
        alive = begin < limit
        goes_on = p.edge + F(slab) < limit
        met = (found != _NONE) & alive
        nothing = select(alive & goes_on, np.int64(KIND_ON), np.int64(KIND_SKY))
        column = select(in_near, cells[NEAR + i], cells[FAR + i])
        before_major = p.eye + (slab - np.int64(face == side_major)) * p.step
        before_minor = select(in_near, minor, minor_end)
        before_minor -= select(face == side_minor, np.int64(ratio > ZERO) * 2 - 1, np.int64(0))
        floats[MET_AT + i] = at
        floats[SAFE + i] = max(select(met, begin, end) - _BEHIND, ZERO)
        cells[KIND + i] = select(met, np.int64(KIND_MET), nothing)
        cells[COLUMN + i], cells[HEIGHT + i], cells[FACE + i] = column, height, face
        cells[BEFORE + i] = (before_major & p.mask_major) * p.stride_major + (
            before_minor & p.mask_minor
        ) * p.stride_minor


@njit(**_FAST)
def load_blocks(count, blocks, world_height, palette, plain, cells):
    """The tiles of the faces that were met, and whether their blocks are plain (``plain``: uint8[256])."""
    for i in range(count):
        height = min(cells[HEIGHT + i], world_height - 1)
        block = np.int64(blocks[uint64(cells[COLUMN + i] * world_height + height)])
        cells[TEXEL + i] = np.int64(FACES[uint64(palette + block * 4 + cells[FACE + i])]) * TILE_TEXELS
        cells[PLAIN + i] = np.int64(plain[uint64(block)])


@njit(**_FAST)
def find_texels(p, count, pixel, floats, cells):
    """Where the texels of the faces lie: place on the face, and level of detail."""
    o_major = F(p.eye + 1) - p.edge if p.step > 0 else F(p.eye) + p.edge
    step = F(p.step)
    along_x = p.side_major == _SIDE_X
    for i in range(whole(count)):
        at, face, inverse, length = floats[MET_AT + i], cells[FACE + i], floats[INVERSE + i], floats[LENGTH + i]
        ratio, ny = floats[RATIO + i], p.dy * inverse
        major, minor = o_major + step * at, p.o_minor + ratio * at
        major, minor = major - F(np.int64(major)), minor - F(np.int64(minor))
        x, z = select(along_x, major, minor), select(along_x, minor, major)
        flat = (face & 1) == 1
        u = select(face == p.side_major, minor, select(flat, x, major))
        v = select(flat, z, F(cells[HEIGHT + i] + 1) - (p.oy + ny * at))
        facing = select(flat, abs(ny), select(face == p.side_major, ONE, abs(ratio))) * length
        foot = at * inverse * pixel / (F(0.35) + F(0.65) * facing)
        over_1, over_2, over_3, over_4 = foot > F(1.5), foot > F(3.0), foot > F(6.0), foot > F(12.0)
        level = np.int64(over_1) + np.int64(over_2) + np.int64(over_3) + np.int64(over_4)
        start = (
            np.int64(over_1) * 256 + np.int64(over_2) * 64 + np.int64(over_3) * 16 + np.int64(over_4) * 4
        )  # LEVEL_START[level]
        column = min(max(np.int64(u * F(16)), 0), 15) >> level
        row = min(max(np.int64(v * F(16)), 0), 15) >> level
        cells[TEXEL + i] += start + (row << (4 - level)) + column
        floats[DEPTH + i] = at * inverse


@njit(**_FAST)
def load_texels(count, tops, aim_column, aim_y, cells):
    """The texels, and the heights under which it is dark. Sorts out what is left to do.

    Returns:
        How many pixels are listed in HARD, and how many in EMPTY.
    """
    hard = empty = 0
    for i in range(count):
        texel = TEXELS[uint64(cells[TEXEL + i])]
        kind = cells[KIND + i]
        cells[TEXEL + i] = np.int64(texel)
        cells[TOP + i] = np.int64(tops[uint64(cells[BEFORE + i])])
        aimed = cells[COLUMN + i] == aim_column and cells[HEIGHT + i] == aim_y
        easy = kind == KIND_MET and texel >= uint32(0x80000000) and cells[PLAIN + i] != 0 and not aimed
        cells[EASY + i] = np.int64(easy)
        cells[HARD + hard] = i
        hard += np.int64(kind != KIND_SKY and not easy)
        cells[EMPTY + empty] = i
        empty += np.int64(kind == KIND_SKY)
    return hard, empty


@njit(**_FAST)
def walk_all(p, floats, cells):
    """List all pixels in HARD; returns the lengths of the two lists."""
    for i in range(p.count):
        cells[HARD + i] = i
        floats[SAFE + i] = ZERO
        floats[INVERSE + i] = ONE
    return p.count, 0


@njit(**_FAST)
def move_on(hard, floats, cells, later_floats, later_cells):
    """Copy the rays listed in HARD that met nothing in their slab to the front of other arrays, and skip that slab.

    Returns:
        How many remain in HARD, and how many were copied.
    """
    left = moved = 0
    for k in range(hard):
        i = cells[HARD + k]
        if cells[KIND + i] == KIND_ON:
            for field in (INVERSE, LENGTH, RATIO, INVERSE_RATIO, LIMIT):
                later_floats[field + moved] = floats[uint64(field + i)]
            later_cells[SLAB + moved] = cells[uint64(SLAB + i)] + 1
            later_cells[PIXEL + moved] = i
            moved += 1
        else:
            cells[HARD + left] = i
            left += 1
    return left, moved


@njit(**_FAST)
def skip_empty(p, count, masks, floats, cells):
    """Walk rays from slab to slab while there is nothing in them."""
    for i in range(count):
        ratio, limit, slab = floats[RATIO + i], floats[LIMIT + i], cells[SLAB + i]
        ny = p.dy * floats[INVERSE + i]
        at = p.edge + F(slab - 1)
        y, minor = np.int64(max(p.oy + ny * at, ZERO)), np.int64(p.o_minor + ratio * at)
        while at < limit:
            end = min(at + ONE, limit)
            y_end, minor_end = np.int64(max(p.oy + ny * end, ZERO)), np.int64(p.o_minor + ratio * end)
            base = ((p.eye + slab * p.step) & p.mask_major) * p.stride_major
            mask = masks[uint64(base + (minor & p.mask_minor) * p.stride_minor)]
            mask |= masks[uint64(base + (minor_end & p.mask_minor) * p.stride_minor)]
            if mask & _span(y, y_end):
                break
            y, minor = y_end, minor_end
            at += ONE
            slab += 1
        cells[SLAB + i] = slab


@njit(**_FAST)
def move_back(count, hard, empty, floats, cells, later_floats, later_cells):
    """Bring what became of moved rays back to their pixels.

    Returns:
        How many pixels are listed in HARD, and how many in EMPTY.
    """
    for k in range(count):
        i = later_cells[PIXEL + k]
        for field in (RED, GREEN, BLUE, DEPTH, SAFE):
            floats[uint64(field + i)] = later_floats[field + k]
        easy = later_cells[EASY + k]
        sky = later_cells[KIND + k] == KIND_SKY
        cells[HARD + hard] = i
        hard += np.int64(easy == 0 and not sky)
        cells[EMPTY + empty] = i
        empty += np.int64(sky)
    return hard, empty


@njit(**_FAST)
def shade(p, count, face_light, light, floats, cells):
    """The lit colours of the texels, 0 to 255."""
    up = p.dy > ZERO
    flat_light = face_light[_BOTTOM] if up else face_light[_TOP]
    x_light, z_light = face_light[_SIDE_X], face_light[_SIDE_Z]
    above = np.int64(-1 if up else 1)
    for i in range(whole(count)):
        face = cells[FACE + i]
        flat = (face & 1) == 1
        cover = F(cells[TOP + i] - cells[HEIGHT + i] - select(flat, above, np.int64(0)))
        open_light = select(cover >= ZERO, max(F(0.88) - F(0.03) * cover, F(0.17)), ONE)
        bright = light * open_light * select(flat, flat_light, select(face == _SIDE_X, x_light, z_light))
        bright = max(select(cells[PLAIN + i] == PLAIN_GLOWING, ONE, bright), F(0.04))
        texel = cells[TEXEL + i]
        floats[RED + i] = F(texel & 255) * bright
        floats[GREEN + i] = F((texel >> 8) & 255) * bright
        floats[BLUE + i] = F((texel >> 16) & 255) * bright
