// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Many runs of a vendor's tool: several at once, their results kept by the hash
// of what they are made from.
#pragma once

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <cstddef>
#include <functional>
#include <optional>
#include <string>

namespace fathom {

/// $FATHOM_CACHE_DIR, or fathom/ in the user's cache folder; empty if neither.
std::string defaultCache();

/// BLAKE3 in hex: the name of an entry, of everything that it depends on.
std::string hashOf(llvm::StringRef bytes);

/// What was kept in this file; nothing where there is none or it was damaged.
std::optional<std::string> readKept(const std::string &path);
/// Other processes may write the same entry. A cache that cannot be written is
/// no cache.
void keep(const std::string &path, llvm::StringRef bytes);

/// Told after jobs, by the caller's thread; may be empty.
using JobProgress = std::function<void(size_t done, size_t of)>;

/// Calls work(i, prefix) for every i below `count`, on `parallel` threads.
/// Files of a job may have names that begin with its prefix, in a folder that
/// is gone afterwards. Work that gives false could not write a file, which ends
/// it all. Errors: the machine's refusal of folder or files.
llvm::Error runJobs(size_t count, unsigned parallel,
                    const JobProgress &progress,
                    llvm::function_ref<bool(size_t, const std::string &)> work);

} // namespace fathom
