// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Typed access to the fields of one JSON object of a configuration. The first
// thing that is wrong is kept as an error; later reads then return defaults, so
// that a reader can be written as a plain list of fields.
#ifndef FATHOM_FRONTENDS_CONFIG_FIELDREADER_H
#define FATHOM_FRONTENDS_CONFIG_FIELDREADER_H

#include "frontends/Support/FrontendError.h"

#include "llvm/ADT/StringSet.h"
#include "llvm/Support/JSON.h"

#include <optional>

namespace fathom {

class FieldReader {
public:
  /// `prefix` is "" or "rope_scaling." for nested objects.
  FieldReader(const llvm::json::Object &object, std::string where,
              std::string prefix = "")
      : object(object), where(std::move(where)), prefix(std::move(prefix)) {}
  FieldReader(const FieldReader &) = delete;

  /// The field; null where it is absent or JSON's null, which mean the same.
  const llvm::json::Value *find(llvm::StringRef name);
  /// Required integer within [low, high]; out of range is Unsupported.
  int64_t integer(llvm::StringRef name, int64_t low, int64_t high);
  /// The same with a default where the field is absent or null.
  int64_t integerOr(llvm::StringRef name, int64_t low, int64_t high,
                    int64_t otherwise);
  /// Required finite number within [low, high], or in (low, high] if `open`.
  double number(llvm::StringRef name, double low, double high,
                bool open = false);
  /// Optional text; "" where absent or null.
  std::string text(llvm::StringRef name);
  /// Optional boolean.
  std::optional<bool> boolean(llvm::StringRef name);
  /// Required array of integers.
  std::vector<int64_t> integers(llvm::StringRef name);
  /// An integer, an array of integers, null or absent.
  std::vector<int64_t> tokens(llvm::StringRef name);
  /// Optional object; null where absent or null.
  const llvm::json::Object *nested(llvm::StringRef name);

  /// The field must be absent, null or equal to this: nothing else is
  /// implemented.
  void onlyText(llvm::StringRef name, llvm::StringRef value);
  void onlyBoolean(llvm::StringRef name, bool value);
  void onlyInteger(llvm::StringRef name, int64_t value);
  /// Present or not, whatever its value: it has no effect on the mathematics.
  void ignore(llvm::StringRef name) { seen.insert(name); }

  /// Fields that no call above has named, sorted.
  std::vector<std::string> unread() const;

  /// Records an error unless there is one already.
  void unsupported(llvm::StringRef name, const std::string &value,
                   const std::string &rule, const std::string &help);
  void bad(llvm::StringRef name, const std::string &why);
  /// Takes over a nested reader's error.
  void adopt(FieldReader &other);

  bool failed() const { return error.has_value(); }
  llvm::Error takeError();

private:
  const llvm::json::Value *require(llvm::StringRef name);
  std::optional<int64_t> asInteger(llvm::StringRef name,
                                   const llvm::json::Value &value);
  int64_t inRange(llvm::StringRef name, const llvm::json::Value &value,
                  int64_t low, int64_t high);

  struct Failure {
    FailureKind kind;
    std::string what, where, why, help;
  };
  const llvm::json::Object &object;
  std::string where, prefix;
  llvm::StringSet<> seen;
  std::optional<Failure> error;
};

} // namespace fathom

#endif // FATHOM_FRONTENDS_CONFIG_FIELDREADER_H
