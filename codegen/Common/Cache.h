// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What was made before, kept by the hash of what it is made from.
#pragma once

#include "llvm/ADT/StringRef.h"

#include <optional>
#include <string>

namespace fathom {

/// $FATHOM_CACHE_DIR, or fathom/ in the user's cache folder; empty if neither.
std::string defaultCache();

/// BLAKE3 in hex: the name of an entry, of everything that it depends on.
std::string hashOf(llvm::StringRef bytes);

/// The file of an entry in a folder; pruneKept knows them by their names.
std::string entryIn(const std::string &folder, const std::string &name);

/// What was kept in this file; nothing where there is none or it was damaged.
std::optional<std::string> readKept(const std::string &path);
/// Other processes may write the same entry. A cache that cannot be written is
/// no cache.
void keep(const std::string &path, llvm::StringRef bytes);

/// Now and then removes what was long not used, and the oldest where entries of
/// a folder have grown many: each version of a compiler leaves its own.
void pruneKept(const std::string &folder);

/// Which program this is, with the libraries that it runs with: the hashes of
/// their contents that linkers leave in them (build ids), a line each. Empty
/// where one has none, and what it makes cannot be told from what another
/// version makes.
std::string programIdentity();

} // namespace fathom
