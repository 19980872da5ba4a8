// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Engine: which driver, which of the package's code, and its kernels.
#include "runtime/format/Blake3.h"
#include "runtime/src/Engine.h"

#include <algorithm>

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

Status Engine::chooseCode(const std::string &wanted) {
  int best = 0;
  std::vector<std::string> seen;
  std::string has;
  for (const format::Library &library : content.libraries) {
    if (library.target != kind->target)
      continue;
    if (std::find(seen.begin(), seen.end(), library.isa) == seen.end()) {
      seen.push_back(library.isa);
      has += (has.empty() ? "" : ", ") + library.isa;
    }
    if (!wanted.empty() && library.isa != wanted)
      continue;
    const int rank = device.table->rank(device.self, library.isa);
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
                    "; compile the model again for this machine");
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
  // A path without a slash would be searched for in the system's folders.
  const std::string exact =
      path.find('/') == std::string::npos ? "./" + path : path;
  return device.table->loadImage(device.self, exact.c_str(), bytes, image);
}

Status Engine::loadKernels() {
  struct Code {
    const format::Library *library;
    void *image = nullptr; // loaded when the first kernel is wanted
  };
  std::unordered_map<std::string, Code> code; // "": holds what others do not
  uint64_t scratchBytes = 0;
  for (const format::Library &library : content.libraries)
    if (library.target == kind->target && library.isa == level) {
      code.emplace(library.kernel, Code{&library});
      scratchBytes = std::max(scratchBytes, library.scratchBytes);
    }
  for (const format::Entry &entry : content.entries)
    for (const format::Specialisation &s : entry.specialisations)
      for (const format::Launch &launch : s.launches) {
        auto [it, added] = kernels.emplace(launch.kernel, nullptr);
        if (!added)
          continue;
        auto found = code.find(launch.kernel);
        if (found == code.end())
          found = code.find("");
        if (found == code.end())
          return Status(FATHOM_BAD_FILE, "the package has no kernel '" +
                                             launch.kernel + "' for " + level +
                                             "; compile the model again");
        if (!found->second.image)
          if (Status status =
                  loadImage(*found->second.library, &found->second.image);
              status.failed())
            return status;
        if (Status status =
                device.table->findKernel(device.self, found->second.image,
                                         launch.kernel.c_str(), &it->second);
            status.failed())
          return status;
      }
  return device.table->reserveScratch(device.self, scratchBytes, &scratch);
}

} // namespace fathom::rt
