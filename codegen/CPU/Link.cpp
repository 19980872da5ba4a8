// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/CPU/Link.h"

#include "lld/Common/Driver.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Object/ObjectFile.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

#include <mutex>

LLD_HAS_DRIVER(elf)

using namespace llvm;

static Error fail(const Twine &message) {
  return createStringError(inconvertibleErrorCode(), message);
}

/// A kernel calls nothing: a symbol of libm, libgcc or the MLIR runner here
/// means that something was lowered the slow or the wrong way.
static Error checkUndefined(StringRef path) {
  Expected<object::OwningBinary<object::ObjectFile>> file =
      object::ObjectFile::createObjectFile(path);
  if (!file)
    return file.takeError();
  auto *elf = dyn_cast<object::ELFObjectFileBase>(file->getBinary());
  for (const object::ELFSymbolRef &symbol : elf->getDynamicSymbolIterators()) {
    Expected<uint32_t> flags = symbol.getFlags();
    if (!flags)
      return flags.takeError();
    Expected<StringRef> name = symbol.getName();
    if (!name)
      return name.takeError();
    if ((*flags & object::SymbolRef::SF_Undefined) && !name->empty() &&
        *name != "memset" && *name != "memcpy" && *name != "memmove")
      return fail(
          "compiled kernels need the external function '" + *name +
          "', which no host provides; this is a defect of the code generator");
  }
  return Error::success();
}

Expected<std::string> fathom::cpu::linkObjects(ArrayRef<std::string> objects) {
  SmallString<128> folder;
  if (std::error_code error =
          sys::fs::createUniqueDirectory("fathom-link", folder))
    return fail("cannot make a temporary folder: " + error.message());
  auto cleanup = make_scope_exit([&] { sys::fs::remove_directories(folder); });
  std::vector<std::string> paths;
  for (auto [i, bytes] : enumerate(objects)) {
    paths.push_back((folder + "/" + Twine(i) + ".o").str());
    std::error_code error;
    raw_fd_ostream out(paths.back(), error);
    out << bytes;
    out.close();
    if (!error)
      error = out.error();
    out.clear_error();
    if (error)
      return fail("cannot write '" + paths.back() + "': " + error.message());
  }
  std::string library = (folder + "/kernels.so").str();
  std::vector<const char *> args = {
      "ld.lld",      "-shared",          "--build-id=none", "-z",
      "noexecstack", "--hash-style=gnu", "-soname",         "kernels.so",
      "-Bsymbolic",  "--threads=1"};
  for (const std::string &path : paths)
    args.push_back(path.c_str());
  args.insert(args.end(), {"-o", library.c_str()});
  std::string messages;
  raw_string_ostream log(messages);
  static std::mutex lldIsNotReentrant;
  std::lock_guard<std::mutex> lock(lldIsNotReentrant);
  lld::Result result =
      lld::lldMain(args, log, log, {{lld::Gnu, &lld::elf::link}});
  if (result.retCode != 0)
    return fail("the linker failed: " + messages);
  if (Error error = checkUndefined(library))
    return std::move(error);
  auto buffer = MemoryBuffer::getFile(library, /*IsText=*/false,
                                      /*RequiresNullTerminator=*/false);
  if (!buffer)
    return fail("cannot read back '" + library +
                "': " + buffer.getError().message());
  return (*buffer)->getBuffer().str();
}
