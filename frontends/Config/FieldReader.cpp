// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "frontends/Config/FieldReader.h"

#include "frontends/Support/StrictJson.h"

#include "llvm/Support/FormatVariadic.h"

#include <algorithm>
#include <cmath>

using namespace llvm;

namespace fathom {

static std::string printNumber(double value) {
  return formatv("{0}", json::Value(value)).str();
}

const json::Value *FieldReader::find(StringRef name) {
  seen.insert(name);
  const json::Value *value = object.get(name);
  if (value && value->kind() == json::Value::Null)
    return nullptr;
  return value;
}

const json::Value *FieldReader::require(StringRef name) {
  const json::Value *value = find(name);
  if (!value)
    bad(name, object.get(name) ? "it is null" : "it is missing");
  return value;
}

std::optional<int64_t> FieldReader::asInteger(StringRef name,
                                              const json::Value &value) {
  if (std::optional<int64_t> integer = value.getAsInteger())
    return integer;
  if (value.kind() == json::Value::Number)
    bad(name, "it must be an integer of at most 64 bits");
  else
    bad(name, "it must be an integer, but is " + describeKind(value).str());
  return std::nullopt;
}

int64_t FieldReader::inRange(StringRef name, const json::Value &value,
                             int64_t low, int64_t high) {
  std::optional<int64_t> integer = asInteger(name, value);
  if (!integer)
    return low;
  if (*integer >= low && *integer <= high)
    return *integer;
  unsupported(name, std::to_string(*integer),
              "it must lie within " + std::to_string(low) + " and " +
                  std::to_string(high),
              "check the configuration against the published one");
  return low;
}

int64_t FieldReader::integer(StringRef name, int64_t low, int64_t high) {
  const json::Value *value = require(name);
  return value ? inRange(name, *value, low, high) : low;
}

int64_t FieldReader::integerOr(StringRef name, int64_t low, int64_t high,
                               int64_t otherwise) {
  const json::Value *value = find(name);
  return value ? inRange(name, *value, low, high) : otherwise;
}

double FieldReader::number(StringRef name, double low, double high, bool open) {
  const json::Value *value = require(name);
  if (!value)
    return low;
  std::optional<double> number = value->getAsNumber();
  if (!number) {
    bad(name, "it must be a number, but is " + describeKind(*value).str());
    return low;
  }
  // Models compute in f32, in which 1e-46 is 0.
  if (std::isfinite(*number) && *number >= low && *number <= high &&
      (!open || float(*number) > float(low)))
    return *number;
  unsupported(name, printNumber(*number),
              std::string("it must be ") +
                  (open ? "more than, in f32, " : "at least ") +
                  printNumber(low) + " and at most " + printNumber(high),
              "check the configuration against the published one");
  return low;
}

std::string FieldReader::text(StringRef name) {
  const json::Value *value = find(name);
  if (!value)
    return "";
  if (std::optional<StringRef> text = value->getAsString())
    return text->str();
  bad(name, "it must be a string, but is " + describeKind(*value).str());
  return "";
}

std::optional<bool> FieldReader::boolean(StringRef name) {
  const json::Value *value = find(name);
  if (!value)
    return std::nullopt;
  if (std::optional<bool> boolean = value->getAsBoolean())
    return boolean;
  bad(name, "it must be true or false, but is " + describeKind(*value).str());
  return std::nullopt;
}

std::vector<int64_t> FieldReader::integers(StringRef name) {
  std::vector<int64_t> result;
  const json::Value *value = require(name);
  if (!value)
    return result;
  const json::Array *array = value->getAsArray();
  if (!array) {
    bad(name, "it must be an array, but is " + describeKind(*value).str());
    return result;
  }
  for (const json::Value &element : *array) {
    std::optional<int64_t> integer = asInteger(name, element);
    if (!integer)
      return {};
    result.push_back(*integer);
  }
  return result;
}

std::vector<int64_t> FieldReader::tokens(StringRef name) {
  const json::Value *value = find(name);
  if (!value)
    return {};
  if (value->kind() == json::Value::Array)
    return integers(name);
  std::optional<int64_t> integer = asInteger(name, *value);
  return integer ? std::vector<int64_t>{*integer} : std::vector<int64_t>{};
}

const json::Object *FieldReader::nested(StringRef name) {
  const json::Value *value = find(name);
  if (!value)
    return nullptr;
  if (const json::Object *inner = value->getAsObject())
    return inner;
  bad(name, "it must be an object, but is " + describeKind(*value).str());
  return nullptr;
}

void FieldReader::onlyText(StringRef name, StringRef value) {
  std::string found = text(name);
  if (!found.empty() && found != value)
    unsupported(name, quoted(found), "only " + quoted(value) + " is known",
                "use a checkpoint of the DeepSeek-V4 family");
}

void FieldReader::onlyBoolean(StringRef name, bool value) {
  std::optional<bool> found = boolean(name);
  if (found && *found != value)
    unsupported(name, *found ? "true" : "false",
                std::string("only ") + (value ? "true" : "false") + " is known",
                "use a checkpoint of the DeepSeek-V4 family");
}

void FieldReader::onlyInteger(StringRef name, int64_t value) {
  const json::Value *found = find(name);
  if (!found)
    return;
  std::optional<int64_t> integer = asInteger(name, *found);
  if (integer && *integer != value)
    unsupported(name, std::to_string(*integer),
                "only " + std::to_string(value) + " is known",
                "use a checkpoint of the DeepSeek-V4 family");
}

std::vector<std::string> FieldReader::unread() const {
  std::vector<std::string> names;
  for (const auto &field : object)
    if (!seen.contains(StringRef(field.first)))
      names.push_back(prefix + StringRef(field.first).str());
  std::sort(names.begin(), names.end());
  return names;
}

void FieldReader::unsupported(StringRef name, const std::string &value,
                              const std::string &rule,
                              const std::string &help) {
  if (!error)
    error = Failure{FailureKind::Unsupported,
                    "unsupported configuration: " + prefix + name.str() +
                        " = " + value,
                    where, rule, help};
}

void FieldReader::bad(StringRef name, const std::string &why) {
  if (!error)
    error = Failure{
        FailureKind::BadFile,
        "bad configuration: the field " + quoted(prefix + name.str()), where,
        why, "restore the configuration that came with the checkpoint"};
}

void FieldReader::adopt(FieldReader &other) {
  if (!error)
    error = other.error;
  other.error.reset();
}

Error FieldReader::takeError() {
  if (!error)
    return Error::success();
  Failure failure = std::move(*error);
  error.reset();
  return makeError(failure.kind, failure.what, failure.where, failure.why,
                   failure.help);
}

} // namespace fathom
