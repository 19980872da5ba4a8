# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Configurations with the matrices and heads of V4-Flash and few layers."""

# A layer of each kind; experts as many as fit everywhere, chosen as often as in
# the whole model.
_CUT = {"num_hidden_layers": 3, "num_nextn_predict_layers": 0,
        "compress_ratios": [0, 4, 128], "num_hash_layers": 0,
        "n_routed_experts": 64, "vocab_size": 16384}
# For a machine without a GPU: the same kinds of kernels, no more.
_TINY = {"hidden_size": 256, "head_dim": 128, "num_attention_heads": 4,
         "q_lora_rank": 128, "o_groups": 2, "o_lora_rank": 128,
         "index_n_heads": 4, "index_head_dim": 64, "index_topk": 8,
         "moe_intermediate_size": 128, "n_routed_experts": 8,
         "num_experts_per_tok": 2, "vocab_size": 512}


def flash(published, tiny):
    return {**published, **_CUT, **(_TINY if tiny else {})}


class Run:
    """A run of fathom bench."""

    def __init__(self, sequences, context, prompt, new):
        self.sequences, self.context = sequences, context
        self.prompt, self.new = prompt, new

    def __str__(self):
        return (f"{self.sequences} sequences, {self.prompt} tokens of prompt "
                f"and {self.new} after it, behind {self.context}")


def runs(tiny):
    if tiny:
        return [Run(1, 40, 16, 3), Run(2, 40, 5, 3)]
    return [Run(1, 0, 2048, 16), Run(1, 65536, 512, 16),
            Run(32, 65536, 16, 16)]


LIMITS = {True: ["--max-context", 64, "--max-sequences", 2],
          False: ["--max-context", 66560, "--max-sequences", 32]}
