# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The runtime as a library of other programs: what is installed, and C."""
import os
import shutil
import subprocess

from harness import NANO, Skip, TEST, check, require

EXAMPLE = os.path.join(TEST, "..", "runtime", "example.c")


def installed(env, *more):
    """A folder into which the build has been installed."""
    if not shutil.which("cmake"):
        raise Skip("no cmake")
    folder = env.temporary("installed")
    subprocess.run(["cmake", "--install", env.build, "--prefix", folder, *more],
                   stdout=subprocess.DEVNULL, check=True, timeout=120)
    return folder


@check("embedding/c-program")
def program(env):
    """The example, as its first lines say, gives the tokens of fathom run."""
    compiler = shutil.which("cc") or shutil.which("clang-22")
    if not compiler:
        raise Skip("no C compiler")
    folder = installed(env, "--component", "runtime")
    library = os.path.join(folder, "lib")
    flags = ["-I" + os.path.join(folder, "include"), "-L" + library,
             "-lfathom"]
    if shutil.which("pkg-config"):
        flags = subprocess.run(
            ["pkg-config", "--cflags", "--libs", "fathom"], check=True,
            stdout=subprocess.PIPE, text=True, timeout=60,
            env={**os.environ, "PKG_CONFIG_PATH":
                 os.path.join(library, "pkgconfig")}).stdout.split()
    example = env.temporary("example")
    subprocess.run([compiler, "-std=c99", "-Wall", "-Wextra", "-Werror",
                    EXAMPLE, *flags,
                    "-o", example], check=True, timeout=120)
    package = env.package(NANO, "bf16")
    text, count = "In the beginning", 12

    def run(*arguments):
        return subprocess.run([example, *arguments], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=120,
                              env={**os.environ, "LD_LIBRARY_PATH": library})

    done = run(package, text, str(count))
    require(done.returncode == 0, done.stderr)
    told = env.run("fathom", "run", package, "--raw", "--prompt", text,
                   "--max-new-tokens", count, check=True).out
    require(done.stdout and told.strip().endswith(done.stdout.strip()),
            f"{done.stdout!r} is not the end of {told!r}")
    done = run(package + "/none", text, "1")
    require(done.returncode == 5 and "no package" in done.stderr,
            f"exit code {done.returncode}: {done.stderr}")
    return f"{count} tokens"


@check("embedding/installed")
def contents(env):
    """Only the functions of fathom.h are there for others, and the tools run
    from where they were put."""
    folder = installed(env)
    library = os.path.join(folder, "lib", "libfathom.so")
    names = subprocess.run(["nm", "-D", "--defined-only", library], check=True,
                           stdout=subprocess.PIPE, text=True,
                           timeout=60).stdout.split("\n")
    names = {line.split()[-1] for line in names if line}
    with open(os.path.join(folder, "include", "fathom.h")) as header:
        declared = header.read()
    strange = [n for n in names if n + "(" not in declared]
    require("fathom_step" in names and not strange, f"exported: {strange}")
    needed = subprocess.run(["readelf", "-d", library], check=True,
                            stdout=subprocess.PIPE, text=True,
                            timeout=60).stdout
    require("LLVM" not in needed and "MLIR" not in needed, needed)
    for tool in ("fathom", "fathomc"):
        if os.access(env.binary(tool), os.X_OK):
            subprocess.run([os.path.join(folder, "bin", tool), "--version"],
                           check=True, stdout=subprocess.DEVNULL, timeout=60)
    return f"{len(names)} functions"
