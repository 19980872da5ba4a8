// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/CPU/ObjectCache.h"

#include "codegen/Common/Cache.h"

#include "llvm/Support/Endian.h"

using namespace mlir;
using namespace fathom;
using namespace fathom::cpu;

ObjectCache::ObjectCache(const CPUOptions &options) {
  if (options.cache.empty() || !options.dumpDir.empty())
    return;
  static const std::string program = programIdentity();
  if (program.empty())
    return;
  folder = options.cache + "/cpu";
  key = program + options.isa + (options.fewPasses ? " few" : "") +
        (options.plainInstructions ? " plain\n" : "\n");
}

std::string ObjectCache::entryOf(ModuleOp kernel) const {
  if (folder.empty())
    return "";
  std::string text = key;
  llvm::raw_string_ostream out(text);
  // The generic form leaves nothing out; where a kernel was written is nothing
  // that code depends on.
  kernel.print(out, OpPrintingFlags().printGenericOpForm().useLocalScope());
  return entryIn(folder, hashOf(text) + ".o");
}

/// An entry is the bytes of scratch memory and the object.
std::optional<CompiledObject> ObjectCache::find(const std::string &entry) {
  std::optional<std::string> kept =
      entry.empty() ? std::nullopt : readKept(entry);
  if (!kept || kept->size() <= sizeof(uint64_t))
    return std::nullopt;
  CompiledObject object;
  object.scratchBytes = llvm::support::endian::read64le(kept->data());
  object.bytes = kept->substr(sizeof(uint64_t));
  return object;
}

static std::string bytesOf(uint64_t number) {
  std::string bytes(sizeof(uint64_t), 0);
  llvm::support::endian::write64le(bytes.data(), number);
  return bytes;
}

void ObjectCache::keep(const std::string &entry, const CompiledObject &object) {
  if (!entry.empty())
    fathom::keep(entry, bytesOf(object.scratchBytes) + object.bytes);
}

static std::string scratchEntry(const std::string &entry) {
  return entry + ".scratch";
}

std::optional<uint64_t> ObjectCache::findScratch(const std::string &entry) {
  if (std::optional<CompiledObject> object = find(entry))
    return object->scratchBytes;
  std::optional<std::string> kept =
      entry.empty() ? std::nullopt : readKept(scratchEntry(entry));
  if (!kept || kept->size() != sizeof(uint64_t))
    return std::nullopt;
  return llvm::support::endian::read64le(kept->data());
}

void ObjectCache::keepScratch(const std::string &entry, uint64_t bytes) {
  if (!entry.empty())
    fathom::keep(scratchEntry(entry), bytesOf(bytes));
}

void ObjectCache::prune() const {
  if (!folder.empty())
    pruneKept(folder);
}
