# lit: IR tests (.mlir) and shell tests (.test). Python and gtest suites are
# run by tools/test.
import atexit
import os
import re
import shutil
import tempfile

import lit.formats


def without_blanks(path):
    """Tests do not quote names: blanks in the path of a checkout or a build are
    kept from them by a link."""
    if not re.search(r"\s", path):
        return path
    folder = tempfile.mkdtemp(prefix="fathom-lit-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    link = os.path.join(folder, "link")
    os.symlink(path, link)
    return link


config.fathom_source = without_blanks(config.fathom_source)
config.fathom_build = without_blanks(config.fathom_build)

config.name = "fathom"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["Inputs", "models", "oracle", "golden", "unit", "e2e", "fuzz"]
config.test_source_root = os.path.join(config.fathom_source, "test")
config.test_exec_root = os.path.join(config.fathom_build, "test")

binaries = os.path.join(config.fathom_build, "bin")
config.environment["PATH"] = os.pathsep.join(
    [binaries, config.llvm_tools,
     # NVIDIA's tools, where tools/setup has put them.
     os.path.join(config.fathom_build, "cuda", "bin"),
     config.environment.get("PATH", "")]
)
config.environment["FILECHECK_OPTS"] = "-enable-var-scope"
config.substitutions += [
    ("%source", config.fathom_source),
    ("%build", config.fathom_build),
    ("%models", os.path.join(config.fathom_source, "test", "models")),
    ("%python", "/usr/bin/python3"),
]

# A test that needs a tool which is not there is unsupported, never passed.
for tool in ["fathom", "fathomc", "fathom-opt", "fathom-translate",
             "fathom-reduce", "fathom-lsp-server", "fathom-cudatile-cases",
             "fathom-tile-to-cudatile", "fathom-tile-to-adapter"]:
    if os.access(os.path.join(binaries, tool), os.X_OK):
        config.available_features.add(tool)
for tool in ["readelf", "mlir-opt", "tileiras", "tileirdisasm", "cuobjdump",
             "nvdisasm", "bishengir-compile"]:
    if shutil.which(tool, path=config.environment["PATH"]):
        config.available_features.add(tool)
