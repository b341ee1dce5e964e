"""Operations of the processor that Python has no word for, for use in kernels.

With ``NUMBA_DISABLE_JIT=1`` they are plain Python functions.
"""

from __future__ import annotations

from typing import Any

from numba import config, types
from numba.extending import intrinsic

if config.DISABLE_JIT:

    def select(condition: Any, chosen: Any, other: Any) -> Any:
        """See below."""
        return chosen if condition else other

    def lowest_bit(mask: Any) -> Any:
        """See below."""
        value = int(mask)
        return (value & -value).bit_length() - 1 if value else 64

    def highest_bit(mask: Any) -> Any:
        """See below."""
        return int(mask).bit_length() - 1

else:

    @intrinsic
    def select(typing_context, condition, chosen, other):  # type: ignore[no-untyped-def]
        """One of two values of the same type, without a branch: both are computed. Loops that use it instead of
        ``if`` are turned into vector instructions."""
        if chosen != other:
            return None

        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            return builder.select(*arguments)

        return chosen(types.boolean, chosen, other), generate

    @intrinsic
    def lowest_bit(typing_context, mask):  # type: ignore[no-untyped-def]
        """The number of the lowest set bit of a uint64, as int64; 64 if there is none."""

        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            return builder.cttz(arguments[0], context.get_constant(types.boolean, False))

        return types.int64(types.uint64), generate

    @intrinsic
    def highest_bit(typing_context, mask):  # type: ignore[no-untyped-def]
        """The number of the highest set bit of a uint64, as int64; -1 if there is none."""

        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            zeros = builder.ctlz(arguments[0], context.get_constant(types.boolean, False))
            return builder.sub(context.get_constant(types.int64, 63), zeros)

        return types.int64(types.uint64), generate
