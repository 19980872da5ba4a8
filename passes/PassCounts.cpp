// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "passes/PassCounts.h"

#include "llvm/Support/raw_ostream.h"

#include <map>
#include <mutex>
#include <string>

using namespace mlir;

namespace fathom {

namespace {
struct Counts {
  std::mutex mutex;
  std::map<std::string, std::map<std::string, uint64_t>> byPass;
};
} // namespace

static Counts &counts() {
  static Counts all;
  return all;
}

void addCount(const Pass &pass, StringRef what, uint64_t number) {
  std::lock_guard<std::mutex> lock(counts().mutex);
  counts().byPass[pass.getArgument().str()][what.str()] += number;
}

void printPassCounts(llvm::raw_ostream &os) {
  std::lock_guard<std::mutex> lock(counts().mutex);
  for (const auto &[pass, numbers] : counts().byPass) {
    os << pass;
    const char *separator = ": ";
    for (const auto &[what, number] : numbers) {
      os << separator << what << ' ' << number;
      separator = ", ";
    }
    os << '\n';
  }
}

void FusionCounts::report(const Pass &pass) const {
  addCount(pass, "groups", groups);
  addCount(pass, "operations", operations);
  addCount(pass, "left", left);
}

} // namespace fathom
