// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What kernels were compiled to before. An entry is named by the hash of the
// kernel's text, the options and the compiler itself, so that one of another
// version is never found.
#pragma once

#include "codegen/CPU/CPUBackend.h"

#include <optional>

namespace fathom::cpu {

/// What compiling one kernel gives: an ELF object, and the bytes of scratch
/// memory that a call needs.
struct CompiledObject {
  std::string bytes;
  uint64_t scratchBytes = 0;
};

/// Files in CPUOptions::cache; several threads and processes may use them.
class ObjectCache {
public:
  /// No cache where the options name no folder, want files of every stage, or
  /// this program cannot tell which version of itself it is.
  explicit ObjectCache(const CPUOptions &options);

  /// The entry of a module with one kernel, not lowered yet; empty if there is
  /// no cache.
  std::string entryOf(mlir::ModuleOp kernel) const;
  /// All do nothing where `entry` is empty.
  static std::optional<CompiledObject> find(const std::string &entry);
  static void keep(const std::string &entry, const CompiledObject &object);
  /// The scratch memory alone, also of a kernel that was lowered and not
  /// compiled, which has a file of its own.
  static std::optional<uint64_t> findScratch(const std::string &entry);
  static void keepScratch(const std::string &entry, uint64_t bytes);
  /// As pruneKept.
  void prune() const;

private:
  std::string folder, key; // of all entries
};

} // namespace fathom::cpu
