// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The package format: what `NAME.fathom/manifest.json` says, as plain structs.
// Shared by the compiler's package writer and by the runtime, so that there is
// one description of it. Sizes are bytes, offsets are from the start of the
// file or buffer named. JSON conversion: ManifestJson.h.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace fathom::format {

/// An unknown major is refused, an unknown minor is accepted.
constexpr int kMajor = 3;
constexpr int kMinor = 1;

/// How a kernel of a CPU library is called. `args[i]` is a pointer or a count
/// (see Arg), x/y/z the program's place in the grid, scratch 64-byte aligned
/// memory of at least Library::scratchBytes that belongs to the calling thread.
using CpuKernel = void (*)(const uint64_t *args, int64_t x, int64_t y,
                           int64_t z, void *scratch);

/// Summary of the model, for people and for the tools; kernels know it all.
struct Model {
  std::string architecture; // "DeepseekV4ForCausalLM"
  std::string numerics;     // "published" | "bf16" | "f32"
  int64_t hiddenSize = 0, layers = 0, vocabularySize = 0, streams = 0;
  int64_t heads = 0, headDim = 0, experts = 0, expertsPerToken = 0;
  int64_t mtpLayers = 0;
  int64_t bosToken = -1;
  std::vector<int64_t> eosTokens;
  std::vector<int64_t> compressRatios;
  std::string promptProfile; // see PromptProfile.h; "": not recorded
};

struct Limits {
  int64_t maxContext = 0, maxSequences = 0, maxStepTokens = 0;
};

/// The family of processors that tile programs and launches were made for. A
/// package of another target than cpu holds code for the host, too, of the same
/// kernels: it is what the emulated driver runs.
struct Target {
  std::string name = "cpu"; // "cpu" | "cuda" | "ascend"
  /// Where device code holds code of the host, whose: "x86_64" | "aarch64".
  std::string hostArchitecture;
  std::string assembler; // and its version, where another program made the code
};

/// What a kernel became, as the target's own tools say.
struct KernelReport {
  uint64_t registers = 0, stackBytes = 0, sharedBytes = 0, instructions = 0;
  uint64_t spillStores = 0, loopSpillStores = 0; // the latter in the main loop
  uint64_t tmaInstructions = 0;
  uint64_t wideLoads = 0; // in the main loop, of 8 bytes or more a thread
  std::map<std::string, uint64_t> tensorInstructions; // "HGMMA" -> how many
  /// Of a block; and registers of a thread that computes and of one that only
  /// loads, where threads hand registers over (else 0). Not in the manifest.
  uint64_t threads = 0, computingRegisters = 0, loadingRegisters = 0;
  /// What the assembler says of slower code, a line each.
  std::vector<std::string> notices;
};

/// A file of code. `blake3` is over the file's bytes, hex.
struct Library {
  std::string file;   // "host-x86-64-v3.so", "device/sm_90/KERNEL.cubin"
  std::string target; // as in Target::name: who runs it
  std::string isa;    // "x86-64-v3" | "sm_90" | "910b"
  std::string kernel; // the one that it holds; "": all of them
  std::string blake3;
  uint64_t bytes = 0, scratchBytes = 0; // the latter of a call on the CPU
  /// Choices made when the kernel was compiled, "workerWarps" -> 8.
  std::map<std::string, int64_t> configuration;
  std::optional<KernelReport> report; // none: not known
  /// What the file is, if it is no code that a device runs: "adapter" and "hivm"
  /// are a kernel before and after AscendNPU-IR, "command" makes code of them.
  std::string form;
  /// Why the target's compiler made nothing of the kernel; "": it did.
  std::string refusal;
  /// Functions that a hand-over calls and the device library does not have.
  std::vector<std::string> unresolved;
};

/// A safetensors file of the checkpoint. `name` has no directory part. The
/// hash is of the 8 length bytes plus the JSON header, BLAKE3, hex.
struct CheckpointFile {
  std::string name, headerBlake3;
  uint64_t bytes = 0, headerBytes /* 8 + JSON */ = 0;
};

/// One checkpoint tensor; `offset` from the start of the file (header
/// included), aligned to nothing.
struct Weight {
  std::string name, dtype /* as in safetensors */;
  std::vector<int64_t> shape;
  uint32_t file = 0;
  uint64_t offset = 0, bytes = 0;
};

/// Stacked weights: a kernel gets an array of pointers, one per entry.
struct WeightTable {
  std::string name;
  std::vector<uint32_t> weights;
};

/// One component array of a cache: `slots * rows * rowBytes` bytes.
struct CacheComponent {
  std::string name; // "codes" | "scales" | "rope" | "rows" | "kv" | "gate"
  uint64_t rowBytes = 0;
};
struct Cache {
  std::string name /* "layers.3.window" */,
      kind /* window|compressed|index|state */;
  std::string format; // f32 | fp8 | fp4
  uint64_t rows = 0;  // per sequence slot
  std::vector<CacheComponent> components;
};

/// A count that is known only when a step runs: tokens of the step, rows whose
/// logits are wanted, or neither.
enum class Count { One, Tokens, Rows };

/// A number of programs: ceil(count / divide) * multiply.
struct GridTerm {
  Count count = Count::One;
  uint64_t divide = 1, multiply = 1;
};
/// Programs along one grid axis: the sum of its terms, at least one. Several
/// are the parts of a merged kernel, which come one after the other.
using GridAxis = std::vector<GridTerm>;

/// One kernel argument.
struct Arg {
  enum class Kind {
    Weight,    // index into weights
    Table,     // index into tables
    Cache,     // index = cache, component
    Workspace, // offset into the workspace
    Input,     // index into Entry::inputs
    Output,    // index into Entry::outputs
    Count      // the value of `count`, as an integer
  };
  Kind kind = Kind::Workspace;
  uint32_t index = 0, component = 0;
  uint64_t offset = 0;
  Count count = Count::Tokens;
};

struct Launch {
  std::string kernel;
  GridAxis grid[3] = {GridAxis(1), GridAxis(1), GridAxis(1)};
  std::vector<Arg> args;
  uint64_t weightBytes = 0; // bytes of weights read when all of it is touched
};

/// An input or output of an entry: `rowBytes` per token or per logits row.
struct Port {
  std::string name;  // ids, positions, slots, rows, streams | logits, streams
  std::string dtype; // I32, F32, BF16
  Count count = Count::Tokens;
  uint64_t rowBytes = 0;
};

/// The schedule for at most maxTokens tokens a step; the runtime takes the
/// first specialisation that is large enough.
struct Specialisation {
  int64_t maxTokens = 0;
  uint64_t workspaceBytes = 0;
  std::vector<Launch> launches;
};

struct Entry {
  std::string name; // "step", "mtp.0", ...
  std::vector<Port> inputs, outputs;
  std::vector<Specialisation> specialisations;
};

struct Manifest {
  int major = kMajor, minor = kMinor;
  std::string producer; // "fathom 0.1.0"
  Target target;
  Model model;
  Limits limits;
  std::vector<Library> libraries;
  std::vector<CheckpointFile> files;
  std::vector<Weight> weights;
  std::vector<WeightTable> tables;
  std::vector<Cache> caches;
  std::vector<Entry> entries;
  /// Further files of the package that travel with it (tokenizer.json, ...).
  std::vector<std::string> extraFiles;
  /// BLAKE3 over the manifest's content without `checkpointDirectory` and
  /// without this field: altered bytes are found at load.
  std::string contentBlake3;
  /// Where the weights lie, relative to the package directory; outside the
  /// hashed content, so that moving the pair or `--checkpoint` changes nothing.
  std::string checkpointDirectory;
};

} // namespace fathom::format
