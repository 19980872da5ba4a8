// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/Common/TargetRegistry.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace llvm;

namespace fathom {

void TargetRegistry::add(std::unique_ptr<TargetBackend> backend) {
  backends.push_back(std::move(backend));
}

const TargetBackend *TargetRegistry::find(StringRef name) const {
  for (const auto &backend : backends)
    if (backend->name() == name)
      return backend.get();
  return nullptr;
}

void TargetRegistry::registerDialects(mlir::DialectRegistry &registry) const {
  for (const auto &backend : backends)
    backend->registerDialects(registry);
}

std::string TargetRegistry::names() const {
  return join(
      map_range(backends, [](const auto &b) { return b->name().str(); }), ", ");
}

std::optional<std::string>
TargetRegistry::resolveLevels(const TargetBackend &backend,
                              std::vector<std::string> &wanted) {
  if (wanted.empty())
    wanted = backend.defaultLevels();
  std::vector<std::string> known = backend.levels();
  for (const std::string &level : wanted)
    if (!is_contained(known, level))
      return level;
  // The order of the package is the target's, whatever the order asked for.
  std::vector<std::string> ordered;
  for (const std::string &level : known)
    if (is_contained(wanted, level))
      ordered.push_back(level);
  wanted = ordered;
  return std::nullopt;
}

} // namespace fathom
