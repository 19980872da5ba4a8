# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Text in, text out: tokenizer, prompts, answers; compared with other people's
code where tools/setup could install it."""
import json
import os
import subprocess

from harness import NANO, Skip, TEST, check, require

ORACLE = os.path.join(TEST, "oracle", "text_oracle.py")
ROOT = os.path.dirname(TEST)


def oracle(env, command, *arguments, timeout=300):
    """Runs a command of the oracle; returns its folder of results."""
    python = os.path.join(env.build, "python", "bin", "python")
    if not os.path.exists(python):
        raise Skip("build/python has no tokenizers (see tools/setup)")
    out = env.temporary(command)
    done = subprocess.run([python, ORACLE, command, out,
                           *map(str, arguments)], capture_output=True,
                          timeout=timeout)
    require(done.returncode == 0, done.stderr.decode()[-500:])
    return out


def load(folder, name):
    with open(os.path.join(folder, name)) as f:
        return json.load(f)


def v4_tokenizer(env):
    with open(os.path.join(oracle(env, "tokenizer"), "path.txt")) as f:
        return f.read()


def tokenized(env, path, *arguments):
    done = env.run("fathom", "tokenize", "--tokenizer", path, *arguments,
                   "--json", "--stats", check=True, timeout=300)
    return json.loads(done.out)["ids"], done.err.split(", ")[-1].strip()


def compare_tokens(env, path, folder):
    strings = load(folder, "strings.json")
    wanted = load(folder, "ids.json")
    found, speed = tokenized(env, path, "--strings",
                             os.path.join(folder, "strings.json"))
    require(len(found) == len(wanted), "another number of texts")
    bad = [i for i in range(len(wanted)) if found[i] != wanted[i]]
    require(not bad, f"{len(bad)} of {len(wanted)} texts differ, first "
                     f"{strings[bad[0]][:200]!r}" if bad else "")
    return len(wanted), speed


def compare_random(env, path, folder):
    count, speed = compare_tokens(env, path, folder)
    for name, ids in load(folder, "broken.json"):
        found, _ = tokenized(env, path, "--file", os.path.join(folder, name))
        require(found == [ids], f"{name}: ill-formed UTF-8 differs")
    # The decoder gives, for every prefix, what HF gives.
    lists, wanted = [], []
    for ids, texts in load(folder, "prefixes.json"):
        for length, text in enumerate(texts):
            lists.append(ids[:length])
            wanted.append(text)
    name = env.temporary("prefixes.json")
    with open(name, "w") as f:
        json.dump(lists, f)
    done = env.run("fathom", "detokenize", "--tokenizer", path, "--strings",
                   name, "--json", check=True)
    found = json.loads(done.out)["texts"]
    require(found == wanted, "a prefix decodes differently")
    return f"{count} texts, {len(wanted)} prefixes, {speed}"


@check("text/tokenizer-v4-random")
def tokenizer_random(env):
    folder = oracle(env, "tokens", 100000 if env.full else 20000, 1)
    return compare_random(env, v4_tokenizer(env), folder)


@check("text/tokenizer-nano-random")
def tokenizer_nano(env):
    path = os.path.join(NANO, "tokenizer.json")
    return compare_random(env, path, oracle(env, "tokens", 5000, 2, path))


@check("text/tokenizer-v4-source-tree")
def tokenizer_tree(env):
    folder = oracle(env, "tree", ROOT)
    path = v4_tokenizer(env)
    count, _ = compare_tokens(env, path, folder)
    # Speed: the files again and again, on one core.
    name = env.temporary("tree.txt")
    with open(name, "w") as f:
        f.write("\n".join(load(folder, "strings.json")) * 4)
    best = max(float(tokenized(env, path, "--file", name)[1].split()[0])
               for _ in range(3))
    require(best >= 10, f"{best} MB/s is less than 10")
    return f"{count} files, {best} MB/s"
