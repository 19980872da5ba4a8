// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/CPU/Link.h"

#include "codegen/Common/TemporaryFolder.h"

#include "lld/Common/Driver.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Object/ObjectFile.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <mutex>
#include <unistd.h>

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

/// The linker writes into a mapping of a file that has no space yet: where the
/// disk is full, that ends the process. A file which takes its space at once
/// tells before.
static Error makeRoom(const std::string &file, uint64_t bytes) {
  int fd = open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  int error = fd < 0 ? errno : 0;
  if (!error) {
    while ((error = posix_fallocate(fd, 0, off_t(bytes))) == EINTR)
      ;
    close(fd);
  }
  sys::fs::remove(file);
  return error ? fathom::cannotWrite(file, std::strerror(error))
               : Error::success();
}

Expected<std::string> fathom::cpu::linkObjects(ArrayRef<std::string> objects) {
  TemporaryFolder folder;
  if (Error error = folder.make("fathom-link"))
    return std::move(error);
  std::vector<std::string> paths;
  uint64_t total = 0;
  for (auto [i, bytes] : enumerate(objects)) {
    paths.push_back(folder.at(Twine(i) + ".o"));
    if (!writeBytes(paths.back(), bytes))
      return cannotWrite(paths.back());
    total += bytes.size();
  }
  const std::string library = folder.at("kernels.so");
  // Beside what objects hold it has headers and tables for the loader.
  constexpr uint64_t kHeaders = 64 << 10;
  if (Error error = makeRoom(library, total + kHeaders))
    return std::move(error);
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
  if (result.retCode != 0 && tellsOfLack(messages))
    return cannotWrite(library,
                       StringRef(messages).trim().split('\n').first.str());
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
