// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/Common/Cache.h"

#include "runtime/format/Blake3.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CachePruning.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

#include <cstdlib>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/stat.h>

using namespace llvm;

namespace fathom {

std::string defaultCache() {
  const char *given = std::getenv("FATHOM_CACHE_DIR");
  if (given && *given)
    return given;
  SmallString<256> folder;
  if (!sys::path::cache_directory(folder))
    return "";
  sys::path::append(folder, "fathom");
  return folder.str().str();
}

std::string hashOf(StringRef bytes) {
  return format::blake3Hex(bytes.data(), bytes.size());
}

std::string entryIn(const std::string &folder, const std::string &name) {
  SmallString<256> path(folder);
  sys::path::append(path, "llvmcache-" + name); // as llvm::pruneCache wants it
  return path.str().str();
}

void pruneKept(const std::string &folder) {
  CachePruningPolicy policy;
  policy.Interval = std::chrono::hours(1);
  policy.Expiration = std::chrono::hours(24 * 30);
  policy.MaxSizeBytes = uint64_t(1) << 30;
  pruneCache(folder, policy);
}

/// For what was long not used to be known, also on mounts that keep no times
/// of access by themselves.
static void setAccessTime(const std::string &path) {
  const timespec times[] = {{0, UTIME_NOW}, {0, UTIME_OMIT}};
  (void)utimensat(AT_FDCWD, path.c_str(), times, 0);
}

/// An entry is the hash of the rest, and the rest.
std::optional<std::string> readKept(const std::string &path) {
  auto file = MemoryBuffer::getFile(path);
  if (!file)
    return std::nullopt;
  StringRef bytes = (*file)->getBuffer();
  constexpr size_t kHash = 64;
  if (bytes.size() <= kHash)
    return std::nullopt;
  StringRef rest = bytes.drop_front(kHash);
  if (hashOf(rest) != bytes.take_front(kHash))
    return std::nullopt;
  setAccessTime(path);
  return rest.str();
}

void keep(const std::string &path, StringRef bytes) {
  if (sys::fs::create_directories(sys::path::parent_path(path)))
    return;
  SmallString<256> fresh;
  int fd = -1;
  if (sys::fs::createUniqueFile(path + ".%%%%%%%%", fd, fresh))
    return;
  raw_fd_ostream out(fd, /*shouldClose=*/true);
  out << hashOf(bytes) << bytes;
  out.close();
  bool failed = out.has_error();
  out.clear_error();
  if (failed || sys::fs::rename(fresh, path))
    sys::fs::remove(fresh);
}

//===-- Which program ----------------------------------------------------===//

/// The build id in a segment of notes; empty if it is not there.
static std::string buildIdIn(ArrayRef<char> notes) {
  auto padded = [](uint64_t size) { return (size + 3) & ~uint64_t(3); };
  while (notes.size() >= sizeof(ElfW(Nhdr))) {
    const auto *note = reinterpret_cast<const ElfW(Nhdr) *>(notes.data());
    const uint64_t name = sizeof(*note);
    const uint64_t content = name + padded(note->n_namesz);
    const uint64_t end = content + padded(note->n_descsz);
    if (end > notes.size())
      return "";
    if (note->n_type == NT_GNU_BUILD_ID &&
        StringRef(notes.data() + name, note->n_namesz) ==
            StringRef("GNU", sizeof("GNU")))
      return toHex(StringRef(notes.data() + content, note->n_descsz));
    notes = notes.drop_front(end);
  }
  return "";
}

/// Told of every part of the process by dl_iterate_phdr; ends at one without.
static int addBuildId(dl_phdr_info *object, size_t, void *into) {
  if (StringRef(object->dlpi_name).starts_with("linux-vdso"))
    return 0; // the kernel's
  std::string id;
  for (int i = 0; i < object->dlpi_phnum && id.empty(); ++i)
    if (const ElfW(Phdr) &segment = object->dlpi_phdr[i];
        segment.p_type == PT_NOTE)
      id = buildIdIn(
          {reinterpret_cast<const char *>(object->dlpi_addr + segment.p_vaddr),
           segment.p_memsz});
  auto &ids = *static_cast<std::string *>(into);
  if (id.empty()) {
    ids.clear();
    return 1;
  }
  ids += id + "\n";
  return 0;
}

std::string programIdentity() {
  std::string ids;
  dl_iterate_phdr(addBuildId, &ids);
  return ids;
}

} // namespace fathom
