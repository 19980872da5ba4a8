# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Text in, text out: tokenizer, prompts, answers; compared with other people's
code where tools/setup could install it."""
import json
import os
import subprocess

from harness import NANO, NUMERICS, Skip, TEST, check, require

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
    out = json.loads(done.out)
    require(out["schema_version"] == 1, "no version")
    return out["ids"], done.err.split(", ")[-1].strip()


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
    out = json.loads(done.out)
    found = out["texts"]
    require(out["schema_version"] == 1, "no version")
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


# ---- Prompts -------------------------------------------------------------------

FIXTURES = os.path.join(TEST, "models", "encoding")


def rendered(env, *arguments):
    done = env.run("fathom", "render", *arguments, "--json", check=True,
                   timeout=300)
    return json.loads(done.out)["prompts"]


@check("text/prompt-fixtures")
def fixtures(env):
    for number, mode in [(1, "high"), (2, "high"), (3, "high"), (4, "off")]:
        with open(os.path.join(FIXTURES, f"test_output_{number}.txt")) as f:
            wanted = f.read()
        # Without an effort's prefix: "high" of the preview, "low" of 0731.
        for profile, think in [("preview", mode),
                               ("official", mode.replace("high", "low"))]:
            found = rendered(env, "--messages", os.path.join(
                FIXTURES, f"test_input_{number}.json"), "--mode", think,
                "--profile", profile)
            require(found[0]["text"] == wanted,
                    f"fixture {number}, {profile} differs")
    return "4 fixtures, 2 profiles"


@check("text/prompts-of-recipe")
def recipe(env):
    """Random conversations: all roles, modes and tools."""
    count = 5000 if env.full else 2000
    folder = oracle(env, "conversations", count, 1)
    cases = load(folder, "cases.json")
    found = rendered(env, "--tokenizer", v4_tokenizer(env), "--profile",
                     "recipe", "--messages",
                     os.path.join(folder, "cases.json"))
    for key, wanted in [("text", load(folder, "prompts.json")),
                        ("ids", load(folder, "ids.json"))]:
        bad = [i for i in range(count) if found[i][key] != wanted[i]]
        require(not bad, f"{len(bad)} of {count} {key} differ, first "
                         f"{json.dumps(cases[bad[0]])[:400]}" if bad else "")
    return f"{count} conversations, strings and ids"


@check("text/profile-of-a-checkpoint")
def profile(env):
    """fathomc finds the profile by the encoder's file and stores it."""
    import shutil
    for name, source, wanted in [
            ("none", None, "preview"),
            ("old", "REASONING_EFFORT_MAX = 'x'\n", "preview"),
            ("new", "REASONING_EFFORT_PROMPTS: Dict = {}\n", "official")]:
        folder = env.temporary(name)
        shutil.copytree(NANO, folder)
        os.chmod(folder, 0o755)
        if source:
            os.makedirs(os.path.join(folder, "encoding"))
            with open(os.path.join(folder, "encoding",
                                   "encoding_dsv4.py"), "w") as f:
                f.write(source)
        package = env.temporary(name + ".fathom")
        env.compile(folder, package)
        done = env.run("fathom", "inspect", package, "--json", check=True)
        found = json.loads(done.out)["model"]["prompt_profile"]
        require(found == wanted, f"{name}: {found}, expected {wanted}")
    env.compile(folder, package, "bf16", "--prompt-profile", "recipe")
    done = env.run("fathom", "inspect", package, check=True)
    require("recipe" in done.out, "the override is not shown")


# ---- Answers -------------------------------------------------------------------

WEATHER = [{"type": "function", "function": {
    "name": "get_weather", "description": "Get the weather of a city",
    "parameters": {"type": "object",
                   "properties": {"city": {"type": "string"}},
                   "required": ["city"]}}}]


def events(env, package, *arguments, check=True):
    done = env.run("fathom", "run", package, *arguments, "--json", check=check)
    lines = [json.loads(line) for line in done.out.splitlines()]
    require(lines and lines[-1]["event"] == "end", "no end event")
    require(all(line["schema_version"] == 1 for line in lines), "version")
    return lines


@check("text/all-answers-in-all-numerics")
def answers(env):
    cases = load(NANO, "answers.json")
    for numerics in NUMERICS:
        package = env.package(NANO, numerics)
        for case in cases:
            end = events(env, package, "--raw", "--prompt", case["prompt"],
                         "--max-new-tokens", len(case["answer_ids"]) + 5)[-1]
            text = case["answer"]
            ends = text.endswith("<｜end▁of▁sentence｜>")
            require(end["message"]["content"] ==
                    text.replace("<｜end▁of▁sentence｜>", ""),
                    f"{numerics}: {case['prompt'][-60:]!r}: "
                    f"{end['message']['content']!r}")
            require(not ends or end["stop"] == "eos", "did not stop")
    return f"{len(cases)} answers, {len(NUMERICS)} numerics"


@check("text/conversation-with-a-tool")
def conversation(env):
    """Messages in, a call out, its result back in, with and without
    thinking."""
    package = env.package(NANO, "bf16")
    tools = env.temporary("tools.json")
    with open(tools, "w") as f:
        json.dump(WEATHER, f)
    messages = [{"role": "system", "content": "You are a helpful assistant."},
                {"role": "user", "content": "What is the weather in Paris?"}]
    name = env.temporary("messages.json")

    def ask(think):
        with open(name, "w") as f:
            json.dump(messages, f)
        return events(env, package, "--messages", name, "--tools", tools,
                      "--think", think)[-1]

    for think in ["high", "off"]:
        end = ask(think)["message"]
        call = end["tool_calls"][0]
        require(call["function"] == {"name": "get_weather",
                                     "arguments": '{"city": "Paris"}'},
                f"call {call}")
        require(bool(end.get("reasoning_content")) == (think == "high"),
                f"reasoning {end}")
    messages.append(end)
    messages.append({"role": "tool", "tool_call_id": call["id"], "content":
                     '{"temperature": 21, "condition": "sunny"}'})
    end = ask("off")
    require("sunny" in end["message"]["content"] and
            end["usage"]["completion_tokens"] > 3, f"answer {end}")
    return end["message"]["content"]


@check("text/sampling-is-of-the-seed-alone")
def seeds(env):
    package = env.package(NANO, "bf16")
    seen = set()
    for seed in range(4):
        texts = {events(env, package, "--raw", "--prompt",
                        "<｜begin▁of▁sentence｜>In the beginning",
                        "--temperature", 1, "--top-p", 0.9, "--seed", seed,
                        "--threads", threads, "--max-new-tokens", 30)[-1]
                 ["message"]["content"] for threads in (1, 2, 3)}
        require(len(texts) == 1, f"seed {seed}: {texts}")
        seen |= texts
    require(len(seen) > 1, "all seeds give the same text")


@check("text/ends-and-logprobs")
def ends(env):
    package = env.package(NANO, "bf16")

    def ask(*more):
        return events(env, package, "--prompt", "What is 12 + 30?", *more)

    whole = ask()[-1]["message"]["content"]
    require(whole == "12 + 30 = 42.", whole)
    end = ask("--stop", "= 4")[-1]
    require(end["message"]["content"] == "12 + 30 " and end["stop"] == "stop",
            f"stop text: {end}")
    require(ask("--max-new-tokens", 3)[-1]["stop"] == "length", "length")
    lines = ask("--logprobs", 2)
    tokens = [line for line in lines if line["event"] == "token"]
    require(len(tokens) == lines[-1]["usage"]["completion_tokens"], "tokens")
    for token in tokens:
        top = token["top_logprobs"]
        require(len(top) == 2 and top[0]["id"] == token["id"] and
                0 >= top[0]["logprob"] >= top[1]["logprob"], f"{token}")
    first = tokens[0]["id"]
    biased = ask("--logit-bias", f"{first}=-100", "--logprobs", 1)
    require([line["id"] for line in biased if line["event"] == "token"][0] !=
            first, "bias")


@check("text/stop-text-beside-a-cut-character")
def stop_beside_cut(env):
    """The token that completes a stop text may begin another character."""
    import shutil
    folder = env.temporary("cut")
    shutil.copytree(NANO, folder)
    os.chmod(folder, 0o755)
    name = os.path.join(folder, "tokenizer.json")
    tokenizer = load(folder, "tokenizer.json")
    model = tokenizer["model"]
    model["vocab"]["\u0120=\u00f0"] = model["vocab"].pop("\u0120=")
    model["merges"] = [m for m in model["merges"]
                       if m not in (["\u0120", "="], "\u0120 =")]
    os.chmod(name, 0o644)
    with open(name, "w") as f:
        json.dump(tokenizer, f)
    package = env.temporary("cut.fathom")
    env.compile(folder, package)
    ask = ["--prompt", "What is 12 + 30?"]
    whole = events(env, package, *ask)[-1]["message"]["content"]
    require("=\ufffd" in whole, f"the token was not cut: {whole!r}")
    end = events(env, package, *ask, "--stop", "=")[-1]
    require(end["stop"] == "stop" and end["message"]["content"] == "12 + 30 ",
            f"{end}")


@check("text/continued-answers")
def continued(env):
    """The model goes on within reasoning, within an answer, or not at all."""
    package = env.package(NANO, "bf16")
    name = env.temporary("prefix.json")

    def write(*said):
        with open(name, "w") as f:
            json.dump([{"role": "user", "content": "What is 12 + 30?"},
                       *({"role": "assistant", **s} for s in said)], f)
        return ["--messages", name]

    whole = events(env, package, *write(), "--think", "high")[-1]["message"]
    part = whole["reasoning_content"][:10]
    end = events(env, package, *write(
        {"content": "", "reasoning_content": part, "prefix": True}),
        "--profile", "recipe", "--think", "low")[-1]
    require(end["usage"]["reasoning_tokens"] > 0 and
            end["message"].get("reasoning_content") and
            "</think>" not in end["message"]["content"], f"{end}")
    end = events(env, package, *write({"content": "12 + 30", "prefix": True}))
    require(end[-1]["message"]["content"] == " = 42.", f"{end[-1]}")
    for more in [[], ["--think", "high"]]:
        done = env.run("fathom", "run", package,
                       *write({"content": "12 + 30 = 42."}), *more)
        require(done.returncode == 2 and "prefix" in done.err,
                f"{done.returncode} {done.out} {done.err}")
    require(events(env, package, *write({"content": "12 + 30 = 42."}),
                   "--profile", "recipe")[-1]["event"] == "end", "recipe")


@check("text/chat")
def chat(env):
    package = env.package(NANO, "bf16")
    script = ("What is 12 + 30?\n/think high\nWhat is 27 + 48?\n/nonsense\n"
              "/think loud\n/clear\nWhat is 5 + 9?\n/exit\nnever\n")
    done = subprocess.run([env.need("fathom"), "chat", package, "--json"],
                          input=script.encode(), capture_output=True,
                          timeout=120)
    require(done.returncode == 0, done.stderr.decode()[-300:])
    lines = [json.loads(line) for line in done.stdout.decode().splitlines()]
    said = [line["message"]["content"] for line in lines
            if line["event"] == "end"]
    require(len(said) == 3 and said[0] == "12 + 30 = 42.", f"{said}")
    require(done.stderr.decode().count("error:") == 2, "bad commands")


def talk(env, package, script, *arguments, out=subprocess.PIPE):
    """Exit code, standard output and standard error of a chat."""
    done = subprocess.run([env.need("fathom"), "chat", package, *arguments],
                          input=script, stdout=out, stderr=subprocess.PIPE,
                          timeout=120)
    return done.returncode, done.stdout or b"", done.stderr.decode()


@check("text/chat-keeps-what-was-said")
def chat_keeps(env):
    package = env.package(NANO, "bf16")
    saved = env.temporary("saved.json")
    with open(saved, "w") as f:
        f.write("older")
    code, _, err = talk(env, package,
                        b"caf\xe9\n/save " + saved.encode() + b"\n",
                        "--max-new-tokens", "3")
    require(code == 0, err)
    said = load(os.path.dirname(saved), os.path.basename(saved))
    require(said[0]["content"] == "caf\ufffd" and len(said) == 2, f"{said}")
    # A result that is too long is asked for again, and goes to the model as
    # one; what begins with a slash is a result, too.
    tools = env.temporary("tools.json")
    with open(tools, "w") as f:
        json.dump(WEATHER, f)
    question = b"What is the weather in Paris?\n"
    for result in [b'{"temperature": 21, "condition": "sunny"}', b"/sunny 21"]:
        code, _, err = talk(env, package, question + b"word " * 40000 + b"\n" +
                            result + b"\n/save " + saved.encode() + b"\n",
                            "--tools", tools)
        require(code == 0 and err.count("error:") == 1 and
                "context overrun" in err, f"{code} {err}")
        said = load(os.path.dirname(saved), os.path.basename(saved))
        require([m["role"] for m in said] ==
                ["user", "assistant", "tool", "assistant"], f"{said}")
        require(said[2]["content"] == result.decode() and
                said[2]["tool_call_id"] == said[1]["tool_calls"][0]["id"],
                f"{said}")


@check("text/chat-without-anybody-to-hear")
def chat_dead(env):
    package = env.package(NANO, "bf16")
    with open("/dev/full", "w") as full:
        code, _, err = talk(env, package, b"What is 1 + 1?\n" * 3,
                            "--max-new-tokens", "8", out=full)
    require(code == 4 and err.count("error:") == 1 and "No space" in err,
            f"{code} {err}")
    folder = os.open("/", os.O_RDONLY)
    done = subprocess.run([env.need("fathom"), "chat", package], stdin=folder,
                          capture_output=True, timeout=60)
    os.close(folder)
    require(done.returncode == 1 and b"standard input" in done.stderr,
            f"{done.returncode} {done.stderr}")


@check("text/empty-texts")
def empty_texts(env):
    package = env.package(NANO, "bf16")
    for command, argument in [("tokenize", "--text"), ("detokenize", "--ids")]:
        done = subprocess.run([env.need("fathom"), command, package, argument,
                               ""], input=b"443", capture_output=True,
                              timeout=60)
        require(done.returncode == 0 and done.stdout.strip() == b"",
                f"{command}: {done}")
    done = subprocess.run([env.need("fathom"), "detokenize", package],
                          input=b"\n", capture_output=True, timeout=60)
    require(done.returncode == 0 and done.stdout == b"", f"{done}")
    require(events(env, package, "--prompt", "")[-1]["event"] == "end", "run")


@check("text/hostile")
def hostile(env):
    package = env.package(NANO, "bf16")
    nano = os.path.join(NANO, "tokenizer.json")
    big = env.temporary("big")
    with open(big, "wb") as f:
        f.write(b"In the beginning God created 1234. " * 3000000)
    done = env.run("fathom", "tokenize", "--tokenizer", nano, "--file", big,
                   "--stats", timeout=120)
    require(done.returncode == 0, f"100 MB: {done.err[-200:]}")
    with open(big, "w") as f:
        f.write("<think>" * 1000000)
    done = env.run("fathom", "tokenize", "--tokenizer", nano, "--file", big)
    require(done.out.count(",") == 999999, "a million special tokens")
    for text, code in [("[" * 1000000, 5), ("{\"messages\": [", 5),
                       ("[" * 200 + "]" * 200, 5), ("[1]", 5), ("", 5),
                       ("\udcff", 5),
                       (json.dumps([{"role": "user",
                                     "content": "word " * 100000}]), 4)]:
        with open(big, "w", errors="surrogateescape") as f:
            f.write(text)
        done = env.run("fathom", "run", package, "--messages", big)
        require(done.returncode == code and "error" in done.err,
                f"{text[:30]!r}: exit code {done.returncode}: {done.err[-200:]}")
    for arguments in [["--prompt", "x", "--tokens", "1"], ["--raw"],
                      ["--prompt", "x", "--think", "low"],
                      ["--prompt", "x", "--temperature", "-1"],
                      ["--prompt", "x", "--top-p", "0"],
                      ["--prompt", "x", "--logit-bias", "99999999=1"],
                      ["--prompt", "x", "--raw", "--system", "s"]]:
        done = env.run("fathom", "run", package, *arguments)
        require(done.returncode == 2 and "error" in done.err,
                f"{arguments}: exit code {done.returncode}")
