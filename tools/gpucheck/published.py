# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Logits in `published` numerics against those of the published code, on a card
whose products of FP8 codes keep less than f32 does.

Such logits are chaotic: the published code differs from itself between prefill and
decode. An implementation with sums in f32 is held to that difference. The tensor
cores of sm_89 and sm_90 are reported to add 32 products of FP8 codes and the sum so
far after cutting all of them 13 binary places below the largest one's exponent. The
reference with such sums differs from the published code's logits (made with sums
in f32) by more than that code does from itself, so that the card is held to what this
reference reaches, and a quarter more for it being one sample of many."""
import numpy as np

import ref_numpy
import rules

# By compute capability; the others' sums are taken for f32's.
KEPT_BITS = {"8.9": 13, "9.0": 13}
_TERMS = 32     # products added at once
_BLOCKS = {"F8_E4M3": 128, "I8": 32}    # of K, after which a sum in f32 takes over:
                                        # those of the weights, by their format
_ROWS = 16      # of tokens at a time, for the memory's sake


def _cut(values, unit):
    return np.trunc(values / unit) * unit


def narrow_product(x, w, length, bits):
    """x [T, K] times w [N, K] transposed, both with values of FP8 codes times powers
    of two; sums of a block of K, `length` long, are kept as the module's comment says."""
    tokens, depth = x.shape
    out = np.zeros((tokens, w.shape[0]), np.float32)
    for t in range(0, tokens, _ROWS):
        rows = x[t:t + _ROWS].astype(np.float64)
        for block in range(0, depth, length):
            total = np.zeros((len(rows), w.shape[0]))
            for k in range(block, min(block + length, depth), _TERMS):
                terms = rows[:, None, k:k + _TERMS] * w[None, :, k:k + _TERMS]
                largest = np.maximum(np.abs(terms).max(-1), np.abs(total))
                unit = np.ldexp(1.0, np.frexp(largest)[1] - 1 - bits)
                total = (_cut(terms, unit[..., None]).sum(-1)
                         + _cut(total, unit))
            out[t:t + _ROWS] += total.astype(np.float32)
    return out


class NarrowModel(ref_numpy.Model):
    """The reference in `published` numerics with narrow sums of FP8 products."""

    def __init__(self, checkpoint, bits):
        super().__init__(checkpoint, "published")
        self.bits = bits

    def lin(self, x, name):
        key = name + ".weight"
        length = _BLOCKS.get(self.k.t[key][0])
        if length is None:
            return super().lin(x, name)
        codes = ref_numpy.fq8(x, 128)
        found = narrow_product(codes.reshape(-1, codes.shape[-1]), self.w(key),
                               length, self.bits)
        return self.R(found.reshape(*codes.shape[:-1], -1))


def judge(found, golden, checkpoint, capability):
    """(whether it is good, what to say) of logits [positions, vocabulary]. The
    reference with narrow sums is run where it is needed alone: it takes a minute."""
    good, text = rules.published(found, golden)
    bits = KEPT_BITS.get(capability)
    if good or bits is None or not np.isfinite(found).all():
        return good, text
    narrow = NarrowModel(checkpoint, bits).step(golden["ids"][None], 0)
    narrow, native = narrow[0, golden["positions"]], golden["native"]
    far, far_same = (rule(narrow, native)
                     for rule in (rules.distance, rules.agreement))
    text += (f"; the reference with sums of {bits} bits {far:.4f} and "
             f"{far_same:.4f}")
    return (rules.distance(found, native) <= 1.25 * far
            and rules.agreement(found, native) >= far_same / 1.25), text
