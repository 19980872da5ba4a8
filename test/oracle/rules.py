# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Rules that quantised logits are held to, from end to end (README.md)."""
import numpy as np


def distance(a, b):
    return float(np.abs(np.asarray(a, np.float32)
                        - np.asarray(b, np.float32)).mean())


def agreement(a, b):
    return float((np.asarray(a).argmax(-1) == np.asarray(b).argmax(-1)).mean())


def published(found, golden):
    """(whether it is so, what to say): logits [positions, vocabulary] are as near
    to the published code's as these are to themselves, when it decodes instead of
    taking all tokens at once."""
    if not np.isfinite(found).all():
        return False, "not all logits are finite"
    native, decode = golden["native"], golden["native_decode"]
    ours, own = distance(found, native), distance(decode, native)
    same, own_same = agreement(found, native), agreement(decode, native)
    return (ours <= own and same >= own_same,
            f"mean |d| {ours:.4f}, published code's own {own:.4f}; argmax "
            f"{same:.4f}, own {own_same:.4f}")
