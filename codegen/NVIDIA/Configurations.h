// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How kernels are compiled for each architecture: choices that were made ahead
// of time, by kernels' classes, and what is tried where none was.
#pragma once

#include "codegen/NVIDIA/Target.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/Error.h"

#include <map>
#include <string>

namespace fathom::nvidia {

/// Worker warps, CTAs and occupancy, best guess first: what is tried. The first
/// is the same for all. `readsTables`: the kernel finds operands by a table.
llvm::SmallVector<Configuration, 0> configurationSpace(const Target &target,
                                                       bool readsTables);

/// "warps 8, CTAs 1, occupancy 0"
std::string textOf(const Configuration &configuration);

class Configurations {
public:
  /// The file that this compiler was built with, Configurations.json.
  static llvm::Expected<Configurations> builtIn();
  /// Of a file that need not be there: then there are no choices in it.
  static llvm::Expected<Configurations> read(const std::string &path);
  /// `where`: its name, for messages.
  static llvm::Expected<Configurations> parse(llvm::StringRef json,
                                              const std::string &where);
  /// The file's text, sorted: equal choices, equal bytes.
  std::string text() const;

  /// Of all classes and targets.
  size_t size() const;
  /// For the target or else for its sibling; null where nothing was chosen.
  const Configuration *find(const std::string &kernelClass,
                            const std::string &target) const;
  /// `example`: a kernel of this class, for people.
  void set(const std::string &kernelClass, const std::string &example,
           const std::string &target, const Configuration &choice);
  /// Those of `other`, too; where both have one, that of `other`.
  void merge(const Configurations &other);

private:
  struct Choices {
    std::string example;
    std::map<std::string, Configuration> byTarget;
  };
  std::map<std::string, Choices> classes;
};

} // namespace fathom::nvidia
