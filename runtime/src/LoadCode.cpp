// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Engine: which driver, which of the package's code, and its kernels.
#include "runtime/format/Blake3.h"
#include "runtime/src/Engine.h"
#include "runtime/src/Limits.h"
#include "runtime/src/Plan.h"

#include <algorithm>
#include <map>

namespace fathom::rt {

namespace {

#if defined(__aarch64__)
constexpr const char *kHostArchitecture = "aarch64";
#else
constexpr const char *kHostArchitecture = "x86_64";
#endif

} // namespace

Status Engine::openDriver(const fathom_engine_options &options) {
  DriverOptions wanted;
  wanted.threads = threadCount;
  wanted.device = options.device;
  if (Status s = parsePlacement(options.pin, options.numa,
                                options.huge_pages != 0, wanted.placement);
      s.failed())
    return s;
  const std::string &target = content.target.name;
  kind = options.driver ? findDriver(options.driver) : defaultDriver(target);
  if (!kind)
    return options.driver
               ? Status(FATHOM_USAGE, std::string("there is no driver '") +
                                          options.driver +
                                          "'; the drivers are " + driverNames())
               : Status(FATHOM_UNSUPPORTED,
                        "'" + packageDirectory + "' was compiled for '" +
                            target +
                            "', which this runtime does not know; the drivers "
                            "are " +
                            driverNames());
  if (Status s = checkHost(target); s.failed())
    return s;
  if (options.ranks > 1 || options.rank != 0)
    return Status(FATHOM_UNSUPPORTED,
                  "rank " + std::to_string(options.rank) + " of " +
                      std::to_string(options.ranks) +
                      ": a model on several devices (through NCCL or HCCL) is "
                      "reserved and not there yet; give no ranks");
  if (Status s = checkFinished(); s.failed())
    return s;
  if (Status s = kind->open(wanted, device); s.failed()) {
    if (options.driver || target == "cpu")
      return s;
    return Status(s.code(), "'" + packageDirectory + "' was compiled for '" +
                                target + "': " + s.message() +
                                "; without such a device its code for the CPU "
                                "runs with --driver emulated (for tests: it "
                                "checks every access) or --driver host");
  }
  description = device.table->describe(device.self);
  return Status();
}

/// What there is once the code has its place.
Status Engine::measureMemory(const fathom_engine_options &options) {
  memory = options.memory_bytes;
  if (memory)
    return Status();
  if (Status s = device.table->memory(device.self, &memory); s.failed())
    return s;
  if (!memory)
    memory = availableMemory();
  return Status();
}

/// Device code may hold code for the host that loads it.
Status Engine::checkHost(const std::string &target) const {
  const std::string &host = content.target.hostArchitecture;
  if (kind->target != target || host.empty() || host == kHostArchitecture)
    return Status();
  return Status(FATHOM_UNSUPPORTED,
                "'" + packageDirectory + "' was compiled for hosts of " + host +
                    ", this one is " + kHostArchitecture +
                    "; compile the model again for it (--host-arch)");
}

/// Code is there, if any of the driver's target is.
Status Engine::checkFinished() const {
  size_t unfinished = 0;
  for (const format::Library &library : content.libraries) {
    if (library.target != kind->target)
      continue;
    if (library.form.empty())
      return Status();
    ++unfinished;
  }
  if (!unfinished) // chooseCode has words for that
    return Status();
  return Status(FATHOM_UNSUPPORTED,
                "'" + packageDirectory + "' has no device code for '" +
                    kind->target +
                    "': it was compiled without the vendor's code generator. "
                    "On a machine that has it: fathomc finish " +
                    packageDirectory +
                    "; its code for the CPU runs with --driver emulated or "
                    "--driver host");
}

Status Engine::chooseCode(const std::string &wanted) {
  int best = 0;
  bool anyRuns = false;
  std::vector<std::string> seen;
  std::string has;
  for (const format::Library &library : content.libraries) {
    if (library.target != kind->target || !library.form.empty())
      continue;
    if (std::find(seen.begin(), seen.end(), library.isa) == seen.end()) {
      seen.push_back(library.isa);
      has += (has.empty() ? "" : ", ") + library.isa;
    }
    const int rank = device.table->rank(device.self, library.isa);
    anyRuns |= rank > 0;
    if (!wanted.empty() && library.isa != wanted)
      continue;
    if (rank > best) {
      best = rank;
      level = library.isa;
    }
  }
  if (best)
    return Status();
  const std::string where = "'" + packageDirectory + "'";
  if (has.empty())
    return Status(FATHOM_UNSUPPORTED, where + " has no code for '" +
                                          kind->target +
                                          "', which the driver '" + kind->name +
                                          "' runs; it was compiled for '" +
                                          content.target.name + "'");
  return Status(FATHOM_UNSUPPORTED,
                where + " has code for " + has + ", " +
                    device.table->runs(device.self) +
                    (wanted.empty() ? "" : ", and " + wanted + " was asked") +
                    (anyRuns ? "; ask for one that both have, or for none "
                               "(--cpu, FATHOM_CPU)"
                             : "; compile the model again for this machine"));
}

Status Engine::loadImage(const format::Library &library, void **image) {
  const std::string path = joinPath(packageDirectory, library.file);
  std::string bytes;
  if (Status s = readFile(path, library.bytes, bytes); s.failed())
    return s;
  if (bytes.size() != library.bytes ||
      format::blake3Hex(bytes.data(), bytes.size()) != library.blake3)
    return Status(FATHOM_BAD_FILE,
                  "'" + path +
                      "' was altered after the package was written (its "
                      "BLAKE3 is not the one in the manifest); compile the "
                      "model again");
  return device.table->loadImage(device.self, path.c_str(), bytes, image);
}

/// Why the package has no code of the kernel.
Status Engine::missingKernel(const std::string &kernel) const {
  for (const format::Library &library : content.libraries) {
    if (library.target != kind->target || library.isa != level ||
        library.kernel != kernel || library.form.empty())
      continue;
    return library.refusal.empty()
               ? Status(FATHOM_UNSUPPORTED,
                        "kernel '" + kernel + "' has no device code for " +
                            level + " yet: run fathomc finish " +
                            packageDirectory +
                            " on a machine with the vendor's code generator")
               : Status(FATHOM_UNSUPPORTED,
                        "kernel '" + kernel + "' has no device code for " +
                            level + ", the vendor's compiler refused it: " +
                            library.refusal);
  }
  return Status(FATHOM_BAD_FILE, "the package has no kernel '" + kernel +
                                     "' for " + level +
                                     "; compile the model again");
}

Status Engine::loadKernels() {
  struct Code {
    const format::Library *library;
    void *image = nullptr; // loaded when the first kernel is wanted
  };
  std::unordered_map<std::string, Code> code; // "": holds what others do not
  uint64_t scratchBytes = 0;
  for (const format::Library &library : content.libraries)
    if (library.target == kind->target && library.isa == level &&
        library.form.empty()) {
      code.emplace(library.kernel, Code{&library});
      scratchBytes = std::max(scratchBytes, library.scratchBytes);
    }
  std::map<std::string, int64_t> mostPrograms;
  for (const format::Entry &entry : content.entries)
    for (const format::Specialisation &s : entry.specialisations)
      for (const format::Launch &launch : s.launches) {
        int64_t &most = mostPrograms[launch.kernel], grid[3];
        most = std::max(most, gridOf(launch, s.maxTokens, s.maxTokens, grid));
      }
  for (const auto &[kernel, most] : mostPrograms) {
    auto found = code.find(kernel);
    if (found == code.end())
      found = code.find("");
    if (found == code.end())
      return missingKernel(kernel);
    Code &of = found->second;
    if (!of.image)
      if (Status status = loadImage(*of.library, &of.image); status.failed())
        return status;
    const KernelRequest request = {kernel.c_str(), of.library->configuration,
                                   most};
    if (Status status = device.table->findKernel(device.self, of.image, request,
                                                 &kernels[kernel]);
        status.failed())
      return status;
  }
  scratchPerThread = scratchBytes;
  scratch = device.table->scratchBytes(device.self, scratchBytes);
  return Status();
}

/// Whether the driver can launch all of a step of so many tokens, each with a
/// row of logits.
Status Engine::admit(const format::Specialisation &s, int64_t tokens) const {
  for (const format::Launch &launch : s.launches) {
    LaunchRecord record = {kernel(launch.kernel),
                           launch.kernel.c_str(),
                           nullptr,
                           nullptr,
                           nullptr,
                           static_cast<uint32_t>(launch.args.size()),
                           {}};
    if (gridOf(launch, tokens, tokens, record.grid) == 0)
      continue;
    if (Status status = device.table->admit(device.self, record);
        status.failed())
      return status;
  }
  return Status();
}

/// How long steps may be here, so that none is refused when half of it is
/// queued. Grids grow with tokens: what is too large for some is for more.
Status Engine::measureSteps() {
  stepTokens.assign(content.entries.size(), content.limits.maxStepTokens);
  if (!device.table->admit)
    return Status();
  std::vector<int> run = mtp;
  run.push_back(step);
  if (greedy >= 0)
    run.push_back(greedy);
  for (int entry : run) {
    int64_t good = 0;
    Status why;
    for (const format::Specialisation &s :
         content.entries[entry].specialisations) {
      int64_t bad = s.maxTokens + 1;
      for (int64_t tokens = s.maxTokens; good + 1 < bad;
           tokens = good + (bad - good) / 2)
        if (Status status = admit(s, tokens); status.failed()) {
          bad = tokens;
          why = status;
        } else {
          good = tokens;
        }
      if (good < s.maxTokens)
        break;
    }
    if (good == 0)
      return Status(why.code(), "not even one token of the package's entry '" +
                                    content.entries[entry].name +
                                    "' can be run here: " + why.message() +
                                    "; run it on another device, or compile "
                                    "the model with a smaller --max-context");
    stepTokens[entry] = good;
  }
  return Status();
}

} // namespace fathom::rt
