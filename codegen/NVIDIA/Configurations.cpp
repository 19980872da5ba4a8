// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/NVIDIA/Configurations.h"

#include "frontends/Support/FrontendError.h"
#include "frontends/Support/InputFile.h"
#include "frontends/Support/StrictJson.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;

namespace fathom::nvidia {

static constexpr const char kBuiltIn[] =
#include "codegen/NVIDIA/Configurations.inc"
    ;

SmallVector<Configuration, 0> configurationSpace(const Target &target,
                                                 bool readsTables) {
  // 8 warps halve what each must hold, and keep the warps that drive memory and
  // tensor cores busy; two programs of 4 each on a multiprocessor do not wait
  // for each other; two CTAs share what they load where the hardware can, but
  // one that found its operands by a table gave an H200 misaligned descriptors.
  SmallVector<Configuration, 0> space;
  for (int warps : {8, 16, 4, 0})
    space.push_back({warps, 1, 0});
  for (int occupancy : {1, 2})
    space.push_back({8, 1, occupancy});
  space.push_back({4, 1, 2});
  if (target.hasTMA && !readsTables)
    for (int warps : {8, 16, 4})
      space.push_back({warps, 2, 0});
  return space;
}

std::string textOf(const Configuration &c) {
  return formatv("warps {0}, CTAs {1}, occupancy {2}", c.workerWarps, c.ctas,
                 c.occupancy);
}

static Error badFile(const std::string &where, const std::string &why) {
  return makeError(FailureKind::BadFile, "no file of configurations", where,
                   why, "write it anew with fathomc tune --static");
}

/// What a reader says of checkpoints, said of this file; what the machine
/// refuses stays as it is.
static Error ofConfigurations(Error error) {
  return handleErrors(std::move(error),
                      [](std::unique_ptr<FrontendError> e) -> Error {
                        return e->getKind() == FailureKind::BadFile
                                   ? badFile(e->where().str(), e->why().str())
                                   : Error(std::move(e));
                      });
}

static bool isOneOf(int64_t value, std::initializer_list<int> allowed) {
  return is_contained(allowed, value);
}

/// [worker warps, CTAs, occupancy]
static bool readChoice(const json::Value &value, Configuration &out) {
  const json::Array *list = value.getAsArray();
  if (!list || list->size() != 3)
    return false;
  int64_t numbers[3];
  for (int i = 0; i < 3; ++i) {
    std::optional<int64_t> number = (*list)[i].getAsInteger();
    if (!number)
      return false;
    numbers[i] = *number;
  }
  if (!isOneOf(numbers[0], {0, 1, 2, 4, 8, 16, 32}) ||
      !isOneOf(numbers[1], {0, 1, 2, 4, 8, 16}) || numbers[2] < 0 ||
      numbers[2] > 32)
    return false;
  out = {int(numbers[0]), int(numbers[1]), int(numbers[2])};
  return true;
}

Expected<Configurations> Configurations::parse(StringRef text,
                                               const std::string &where) {
  Expected<json::Object> root = parseJsonObject(text, where);
  if (!root)
    return ofConfigurations(root.takeError());
  if (root->getInteger("schema_version") != 1)
    return badFile(where, "its schema_version is not 1");
  const json::Object *kernels = root->getObject("kernels");
  if (!kernels)
    return badFile(where, "it has no object 'kernels'");
  Configurations all;
  for (const auto &[name, entry] : *kernels) {
    const json::Object *choices = entry.getAsObject();
    if (!choices || name.str().size() != 16 || !all_of(name.str(), isHexDigit))
      return badFile(where, quoted(name.str()) + " is no class of kernels");
    Choices &known = all.classes[name.str()];
    for (const auto &[key, choice] : *choices) {
      if (key.str() == "example") {
        known.example = choice.getAsString().value_or("").str();
        continue;
      }
      if (!findTarget(key.str()) ||
          !readChoice(choice, known.byTarget[key.str()]))
        return badFile(where, quoted(name.str()) + " has no proper choice of " +
                                  quoted(key.str()));
    }
  }
  return all;
}

Expected<Configurations> Configurations::read(const std::string &path) {
  if (!sys::fs::exists(path))
    return Configurations();
  Expected<std::string> text = readTextFile(path, uint64_t(64) << 20);
  if (!text)
    return ofConfigurations(text.takeError());
  return parse(*text, quoted(path));
}

Expected<Configurations> Configurations::builtIn() {
  return parse(kBuiltIn, "built in");
}

std::string Configurations::text() const {
  std::string out;
  raw_string_ostream os(out);
  os << "{\"schema_version\": 1,\n\"kernels\": {";
  StringRef before = "\n";
  for (const auto &[name, choices] : classes) {
    os << before << "\"" << name
       << "\": {\"example\": " << json::Value(choices.example);
    for (const auto &[target, c] : choices.byTarget)
      os << ", \"" << target << "\": [" << c.workerWarps << "," << c.ctas << ","
         << c.occupancy << "]";
    os << "}";
    before = ",\n";
  }
  os << "\n}}\n";
  return out;
}

size_t Configurations::size() const {
  size_t all = 0;
  for (const auto &[name, choices] : classes)
    all += choices.byTarget.size();
  return all;
}

const Configuration *Configurations::find(const std::string &kernelClass,
                                          const std::string &target) const {
  auto known = classes.find(kernelClass);
  if (known == classes.end())
    return nullptr;
  for (const Target *of = findTarget(target); of; of = siblingOf(*of)) {
    auto choice = known->second.byTarget.find(of->name);
    if (choice != known->second.byTarget.end())
      return &choice->second;
  }
  return nullptr;
}

void Configurations::set(const std::string &kernelClass,
                         const std::string &example, const std::string &target,
                         const Configuration &choice) {
  Choices &known = classes[kernelClass];
  // The first name in the order of letters, in whatever order they come.
  if (known.example.empty() || example < known.example)
    known.example = example;
  known.byTarget[target] = choice;
}

void Configurations::merge(const Configurations &other) {
  for (const auto &[name, choices] : other.classes)
    for (const auto &[target, choice] : choices.byTarget)
      set(name, choices.example, target, choice);
}

} // namespace fathom::nvidia
