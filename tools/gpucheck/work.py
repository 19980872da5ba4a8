# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a package's kernels have to do in a run of `fathom bench`: operations and
bytes, from the manifest and the model's configuration alone. The compiler counts
by its own operations (fathomc explain); a test holds both against each other."""
import json
import math
import os
import re

# Values of a stored element; a multiplication and an addition for each.
_VALUES = {"I8": 2, "U8": 2, "F4": 2, "F8_E8M0": 0}
_FORMATS = {"I8": "FP4", "U8": "FP4", "F4": "FP4", "F8_E4M3": "FP8"}


class Tokens:
    """Those that one specialisation takes in a run."""

    def __init__(self):
        self.positions, self.rows, self.steps = [], 0, 0


class Work:
    def __init__(self, package, config, sequences, context, prompt, new):
        with open(os.path.join(package, "manifest.json")) as f:
            self.manifest = json.load(f)
        self.config = config
        self.tokens = {}
        limit = self.manifest["limits"]["maxStepTokens"]
        # Prompts one behind the other, then a token of each sequence a step.
        ends = [(context + i, i + 1 == prompt)
                for _ in range(sequences) for i in range(prompt)]
        for at in range(0, len(ends), limit):
            self._step(ends[at:at + limit])
        for i in range(new):
            self._step([(context + prompt + i, True)] * sequences)
        self._read_launches()

    def _step(self, tokens):
        step = next(e for e in self.manifest["entries"]
                    if e["name"] == "step")
        size = min(s["maxTokens"] for s in step["specialisations"]
                   if s["maxTokens"] >= len(tokens))
        here = self.tokens.setdefault(size, Tokens())
        here.positions += [position for position, _ in tokens]
        here.rows += sum(end for _, end in tokens)
        here.steps += 1

    # Launches.

    def _matrix(self, index):
        """(values, dtype) of a matrix that is multiplied; a table by token id
        is not."""
        w = self.manifest["weights"][index]
        if len(w["shape"]) < 2 or "embed" in w["name"] or "ape" in w["name"] \
                or w["dtype"] == "I64":
            return 0, w["dtype"]
        return math.prod(w["shape"]) * _VALUES.get(w["dtype"], 1), w["dtype"]

    def _products(self, launch):
        """Operations of a token, and the format of the largest matrix."""
        model, total, largest = self.manifest["model"], 0, (0, "")
        share = (model["expertsPerToken"] / model["experts"]
                 if model["experts"] else 1)
        for arg in launch["args"]:
            if arg[0] not in ("weight", "table"):
                continue
            isTable = arg[0] == "table"
            indices = (self.manifest["tables"][arg[1]]["weights"] if isTable
                       else [arg[1]])
            for index in indices:
                values, dtype = self._matrix(index)
                total += 2 * values * (share if isTable else 1)
                largest = max(largest, (values, dtype))
        return total, _FORMATS.get(largest[1], largest[1])

    def _ratio(self, launch, before):
        """Of the layer whose caches it reads; else of the launch before it."""
        for arg in launch["args"]:
            if arg[0] == "cache":
                layer = self._layer(self.manifest["caches"][arg[1]]["name"])
                return self.manifest["model"]["compressRatios"][layer]
        return before

    def _layer(self, name):
        kind, number = name.split(".")[:2]
        return int(number) + (self.manifest["model"]["layers"]
                              if kind == "mtp" else 0)

    def _read_launches(self):
        """kernel -> operations of all its launches in the run, and format;
        kernels of attention and of the indexer with their layers' ratio."""
        self.products, self.groups, self.layers = {}, {}, {}
        for entry in self.manifest["entries"]:
            if entry["name"] != "step":
                continue
            for s in entry["specialisations"]:
                tokens, ratio = self.tokens.get(s["maxTokens"], Tokens()), 0
                for launch in s["launches"]:
                    name = launch["kernel"]
                    key = (s["maxTokens"], name)
                    each, kind = self._products(launch)
                    onRows = any(term[0] == "rows" for axis in launch["grid"]
                                 for term in axis)
                    count = tokens.rows if onRows else len(tokens.positions)
                    known = self.products.get(key, (0, kind))
                    self.products[key] = (known[0] + each * count, kind)
                    ratio = self._ratio(launch, ratio)
                    if "attention_" in name:
                        self.groups[key] = ("attention", ratio)
                    elif re.search("index_(scores|select|merge)", name):
                        self.groups[key] = ("index", 4)
        for name in {c["name"].split(".", 2)[1] for c in self.manifest["caches"]
                     if c["name"].startswith("layers.")}:
            ratio = self.manifest["model"]["compressRatios"][int(name)]
            self.layers[ratio] = self.layers.get(ratio, 0) + 1

    # Attention, as the model defines it.

    def _row_bytes(self, ratio, kind):
        for cache in self.manifest["caches"]:
            if cache["kind"] == kind and cache["name"].startswith("layers.") \
                    and self.manifest["model"]["compressRatios"][
                        self._layer(cache["name"])] == ratio:
                return sum(c["rowBytes"] for c in cache["components"])
        return 0

    def attention(self, size, ratio):
        """(operations, bytes of the rows that each token reads) of all layers
        of a ratio."""
        c, window, blocks = self.config, 0, 0
        for p in self.tokens[size].positions:
            window += min(p + 1, c["sliding_window"])
            visible = (p + 1) // ratio if ratio else 0
            blocks += min(visible, c["index_topk"]) if ratio == 4 else visible
        flops = (4 * (window + blocks) * c["num_attention_heads"]
                 * c["head_dim"])
        rows = (window * self._row_bytes(ratio, "window")
                + blocks * self._row_bytes(ratio, "compressed"))
        return flops * self.layers[ratio], rows * self.layers[ratio]

    def index(self, size, ratio):
        c = self.config
        keys = sum((p + 1) // ratio for p in self.tokens[size].positions)
        flops = 2 * keys * c["index_n_heads"] * c["index_head_dim"]
        return (flops * self.layers[ratio],
                keys * self._row_bytes(ratio, "index") * self.layers[ratio])

    def group(self, size, key):
        group, ratio = key
        return (self.attention if group == "attention" else self.index)(size,
                                                                        ratio)
