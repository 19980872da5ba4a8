// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The reading half of ManifestJson.h (include that one): every type, range,
// count and cross reference of a manifest is checked by hand, since packages
// come from strangers. No exceptions; the first error is kept.
#pragma once

#include "runtime/format/Manifest.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <limits>
#include <set>
#include <string_view>
#include <tuple>

namespace fathom::format::detail {

/// Bounds on what is believed. Generous: the largest published model has about
/// 150,000 tensors and a manifest of some 60 MB.
constexpr size_t kMaxText = size_t(512) << 20;
constexpr size_t kMaxItems = size_t(1) << 22;
constexpr size_t kMaxName = 4096;
constexpr int64_t kMaxCount = int64_t(1) << 31;
constexpr uint64_t kMaxBytes = uint64_t(1) << 56;
constexpr int kMaxNesting = 32;

inline const char *countName(Count count) {
  return count == Count::One      ? "one"
         : count == Count::Tokens ? "tokens"
                                  : "rows";
}

inline const char *argKindName(Arg::Kind kind) {
  switch (kind) {
  case Arg::Kind::Weight:
    return "weight";
  case Arg::Kind::Table:
    return "table";
  case Arg::Kind::Cache:
    return "cache";
  case Arg::Kind::Workspace:
    return "workspace";
  case Arg::Kind::Input:
    return "input";
  case Arg::Kind::Output:
    return "output";
  case Arg::Kind::Count:
    return "count";
  }
  return "";
}

/// What is wrong with JSON text before a parser sees it, or "": deep nesting, so
/// that no later step (dump, copy) can recurse deeply, and a byte 0, which the
/// parser takes for the end of the text, whatever comes after it.
inline std::string checkJsonText(std::string_view text) {
  int depth = 0;
  bool inString = false;
  if (text.find('\0') != text.npos)
    return "a byte 0 in the text";
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (inString) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        inString = false;
      continue;
    }
    if (c == '"')
      inString = true;
    else if ((c == '{' || c == '[') && ++depth > kMaxNesting)
      return "nested deeper than " + std::to_string(kMaxNesting) + " levels";
    else if (c == '}' || c == ']')
      --depth;
  }
  return "";
}

/// A file name without a directory part.
inline bool isPlainFileName(const std::string &name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find('/') == std::string::npos &&
         name.find('\\') == std::string::npos &&
         name.find('\0') == std::string::npos && name.size() <= 255;
}

/// "sm_90", "x86-64-v3", "workerWarps": letters, digits and joints.
inline bool isWord(const std::string &text) {
  return !text.empty() && text.size() <= 64 &&
         text.find_first_not_of("abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789_-") == std::string::npos;
}

/// A file of the package: at most two folders down, nothing hidden, so that it
/// cannot lead outside.
inline bool isPackageFile(const std::string &name) {
  size_t from = 0;
  for (int depth = 0; depth < 3; ++depth) {
    const size_t slash = name.find('/', from);
    const std::string part = name.substr(from, slash - from);
    if (!isPlainFileName(part) || part[0] == '.')
      return false;
    if (slash == std::string::npos)
      return true;
    from = slash + 1;
  }
  return false;
}

inline bool isHash(const std::string &text) {
  return text.size() == 64 &&
         text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

/// A linker name that dlsym may be asked for.
inline bool isSymbol(const std::string &text) {
  return !text.empty() && text.size() <= 1024 &&
         text.find_first_not_of("abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789_.$") == std::string::npos;
}

/// Where a value stands, spelled out only when there is an error to tell.
struct Place {
  const Place *parent = nullptr;
  const char *name = nullptr; // a field, or null: an index
  size_t index = 0;

  std::string spell() const {
    std::string before = parent ? parent->spell() : "";
    if (!name)
      return before + "[" + std::to_string(index) + "]";
    return before.empty() ? name : before + "." + name;
  }
};

struct Reader {
  using json = nlohmann::json;
  std::string error;

  bool fail(const Place &place, const std::string &why) {
    if (error.empty())
      error = place.spell() + ": " + why;
    return false;
  }

  // Values.

  bool toInt(const json &v, int64_t &out, const Place &at, int64_t low,
             int64_t high) {
    if (!v.is_number_integer())
      return fail(at,
                  std::string("expected an integer, found ") + v.type_name());
    if (v.is_number_unsigned()) {
      uint64_t u = *v.get_ptr<const json::number_unsigned_t *>();
      if (u > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
        return fail(at, std::to_string(u) + " is too large");
      out = static_cast<int64_t>(u);
    } else {
      out = *v.get_ptr<const json::number_integer_t *>();
    }
    if (out < low || out > high)
      return fail(at, std::to_string(out) + " is outside " +
                          std::to_string(low) + ".." + std::to_string(high));
    return true;
  }

  bool toSize(const json &v, uint64_t &out, const Place &at, uint64_t low = 0,
              uint64_t high = kMaxBytes) {
    int64_t value = 0;
    if (!toInt(v, value, at, static_cast<int64_t>(low),
               static_cast<int64_t>(high)))
      return false;
    out = static_cast<uint64_t>(value);
    return true;
  }

  bool toIndex(const json &v, uint32_t &out, const Place &at, size_t count,
               const char *of) {
    int64_t value = 0;
    if (!toInt(v, value, at, 0, std::numeric_limits<uint32_t>::max()))
      return false;
    if (static_cast<uint64_t>(value) >= count)
      return fail(at, "index " + std::to_string(value) + ", but there are " +
                          std::to_string(count) + " " + of);
    out = static_cast<uint32_t>(value);
    return true;
  }

  bool toText(const json &v, std::string &out, const Place &at) {
    const std::string *text = v.get_ptr<const json::string_t *>();
    if (!text)
      return fail(at, std::string("expected a string, found ") + v.type_name());
    if (text->size() > kMaxName)
      return fail(at, "the string has " + std::to_string(text->size()) +
                          " bytes, more than " + std::to_string(kMaxName));
    out = *text;
    return true;
  }

  bool toCount(const json &v, Count &out, const Place &at) {
    std::string text;
    if (!toText(v, text, at))
      return false;
    for (Count count : {Count::One, Count::Tokens, Count::Rows})
      if (text == countName(count)) {
        out = count;
        return true;
      }
    return fail(at, "'" + text + "' is not one of one, tokens, rows");
  }

  // Fields of an object: looked up, then converted.

  const json *field(const json &object, const char *name, const Place &at) {
    if (!object.is_object()) {
      fail(at, std::string("expected an object, found ") + object.type_name());
      return nullptr;
    }
    auto it = object.find(name);
    if (it == object.end()) {
      fail(Place{&at, name}, "missing");
      return nullptr;
    }
    return &*it;
  }

  bool integer(const json &o, const char *name, int64_t &out, const Place &at,
               int64_t low, int64_t high = kMaxCount) {
    const json *v = field(o, name, at);
    return v && toInt(*v, out, Place{&at, name}, low, high);
  }

  bool size(const json &o, const char *name, uint64_t &out, const Place &at,
            uint64_t low = 0) {
    const json *v = field(o, name, at);
    return v && toSize(*v, out, Place{&at, name}, low);
  }

  bool text(const json &o, const char *name, std::string &out,
            const Place &at) {
    const json *v = field(o, name, at);
    return v && toText(*v, out, Place{&at, name});
  }

  bool oneOf(const json &o, const char *name, std::string &out, const Place &at,
             std::initializer_list<const char *> allowed) {
    if (!text(o, name, out, at))
      return false;
    std::string list;
    for (const char *choice : allowed) {
      if (out == choice)
        return true;
      list += (list.empty() ? "" : ", ") + std::string(choice);
    }
    return fail(Place{&at, name}, "'" + out + "' is not one of " + list);
  }

  bool hash(const json &o, const char *name, std::string &out,
            const Place &at) {
    return text(o, name, out, at) &&
           (isHash(out) ||
            fail(Place{&at, name}, "not a BLAKE3 hash of 64 hex digits"));
  }

  bool fileName(const json &o, const char *name, std::string &out,
                const Place &at) {
    return text(o, name, out, at) &&
           (isPlainFileName(out) ||
            fail(Place{&at, name},
                 "'" + out + "' is not a file name without a directory"));
  }

  /// Reads array `name` of `o` into `out`, one call of `each(value, item,
  /// place)` an element.
  template <typename T, typename Each>
  bool array(const json &o, const char *name, std::vector<T> &out,
             const Place &at, Each each) {
    const json *v = field(o, name, at);
    return v && elements(*v, out, Place{&at, name}, each);
  }

  template <typename T, typename Each>
  bool elements(const json &v, std::vector<T> &out, const Place &at,
                Each each) {
    if (!v.is_array())
      return fail(at, std::string("expected an array, found ") + v.type_name());
    if (v.size() > kMaxItems)
      return fail(at, std::to_string(v.size()) + " elements, more than " +
                          std::to_string(kMaxItems));
    out.resize(v.size());
    for (size_t i = 0; i < out.size(); ++i)
      if (!each(v[i], out[i], Place{&at, nullptr, i}))
        return false;
    return true;
  }

  // The structs, in the order in which they refer to each other.

  bool model(const json &j, Model &m, const Place &at) {
    auto integers = [&](const char *name, std::vector<int64_t> &out,
                        int64_t high) {
      return array(j, name, out, at,
                   [&](const json &v, int64_t &item, const Place &place) {
                     return toInt(v, item, place, 0, high);
                   });
    };
    return text(j, "architecture", m.architecture, at) &&
           oneOf(j, "numerics", m.numerics, at, {"published", "bf16", "f32"}) &&
           integer(j, "hiddenSize", m.hiddenSize, at, 1) &&
           integer(j, "layers", m.layers, at, 0) &&
           integer(j, "vocabularySize", m.vocabularySize, at, 1,
                   std::numeric_limits<int32_t>::max()) &&
           integer(j, "streams", m.streams, at, 1) &&
           integer(j, "heads", m.heads, at, 1) &&
           integer(j, "headDim", m.headDim, at, 1) &&
           integer(j, "experts", m.experts, at, 0) &&
           integer(j, "expertsPerToken", m.expertsPerToken, at, 0) &&
           integer(j, "mtpLayers", m.mtpLayers, at, 0) &&
           integer(j, "bosToken", m.bosToken, at, -1) &&
           integers("eosTokens", m.eosTokens, kMaxCount) &&
           integers("compressRatios", m.compressRatios, kMaxCount) &&
           // Packages of earlier days have none.
           (!j.contains("promptProfile") ||
            text(j, "promptProfile", m.promptProfile, at));
  }

  bool word(const json &o, const char *name, std::string &out,
            const Place &at) {
    return text(o, name, out, at) &&
           (isWord(out) || fail(Place{&at, name}, "not a word of letters, "
                                                  "digits, '_' and '-'"));
  }

  /// Reads object `name` of `o`: words and numbers from 0 to 2^31.
  template <typename T>
  bool numbers(const json &o, const char *name, std::map<std::string, T> &out,
               const Place &at) {
    const json *v = field(o, name, at);
    if (!v)
      return false;
    const Place place{&at, name};
    if (!v->is_object())
      return fail(place,
                  std::string("expected an object, found ") + v->type_name());
    if (v->size() > 64)
      return fail(place, "more than 64 fields");
    for (const auto &item : v->items()) {
      int64_t number = 0;
      if (!isWord(item.key()))
        return fail(place, "a name that is no word");
      if (!toInt(item.value(), number, Place{&place, item.key().c_str()}, 0,
                 kMaxCount))
        return false;
      out[item.key()] = static_cast<T>(number);
    }
    return true;
  }

  bool report(const json &j, KernelReport &r, const Place &at) {
    return size(j, "registers", r.registers, at) &&
           size(j, "stackBytes", r.stackBytes, at) &&
           size(j, "sharedBytes", r.sharedBytes, at) &&
           size(j, "instructions", r.instructions, at) &&
           size(j, "spillStores", r.spillStores, at) &&
           size(j, "loopSpillStores", r.loopSpillStores, at) &&
           size(j, "tmaInstructions", r.tmaInstructions, at) &&
           size(j, "wideLoads", r.wideLoads, at) &&
           numbers(j, "tensorInstructions", r.tensorInstructions, at) &&
           array(j, "notices", r.notices, at,
                 [&](const json &v, std::string &item, const Place &place) {
                   return toText(v, item, place);
                 });
  }

  bool target(const json &j, Target &t, const Place &at) {
    return word(j, "name", t.name, at) &&
           oneOf(j, "hostArchitecture", t.hostArchitecture, at,
                 {"", "x86_64", "aarch64"}) &&
           text(j, "assembler", t.assembler, at);
  }

  bool library(const json &j, Library &l, const Place &at) {
    if (!text(j, "file", l.file, at) || !word(j, "target", l.target, at) ||
        !word(j, "isa", l.isa, at) || !text(j, "kernel", l.kernel, at) ||
        !hash(j, "blake3", l.blake3, at) || !size(j, "bytes", l.bytes, at) ||
        !size(j, "scratchBytes", l.scratchBytes, at) ||
        !numbers(j, "configuration", l.configuration, at))
      return false;
    if (!isPackageFile(l.file))
      return fail(Place{&at, "file"},
                  "'" + l.file + "' is not a file name within the package");
    if (!l.kernel.empty() && !isSymbol(l.kernel))
      return fail(Place{&at, "kernel"}, "not a symbol name");
    if (j.contains("form") &&
        !oneOf(j, "form", l.form, at, {"adapter", "hivm", "command"}))
      return false;
    if (j.contains("refusal") && !text(j, "refusal", l.refusal, at))
      return false;
    if (j.contains("unresolved") &&
        !array(j, "unresolved", l.unresolved, at,
               [&](const json &v, std::string &item, const Place &place) {
                 return toText(v, item, place);
               }))
      return false;
    if (!j.contains("report"))
      return true;
    l.report.emplace();
    return report(*j.find("report"), *l.report, Place{&at, "report"});
  }

  /// Each file once, and one file for each kernel of a level.
  bool libraries(const std::vector<Library> &all, const Place &at) {
    std::set<std::string> files;
    std::set<std::tuple<std::string, std::string, std::string, std::string>>
        held;
    for (size_t i = 0; i < all.size(); ++i) {
      const Library &l = all[i];
      const Place here{&at, nullptr, i};
      if (!files.insert(l.file).second)
        return fail(Place{&here, "file"}, "'" + l.file + "' appears twice");
      if (!held.insert({l.target, l.isa, l.kernel, l.form}).second)
        return fail(here, "a second file for " + l.target + " " + l.isa +
                              (l.kernel.empty() ? "" : " " + l.kernel));
    }
    return true;
  }

  bool checkpointFile(const json &j, CheckpointFile &f, const Place &at) {
    if (!fileName(j, "name", f.name, at) ||
        !hash(j, "headerBlake3", f.headerBlake3, at) ||
        !size(j, "bytes", f.bytes, at, 8) ||
        !size(j, "headerBytes", f.headerBytes, at, 8))
      return false;
    return f.headerBytes <= f.bytes ||
           fail(Place{&at, "headerBytes"}, "larger than the file");
  }

  bool weight(const json &j, Weight &w, const Place &at, const Manifest &m) {
    const json *file = field(j, "file", at);
    if (!file ||
        !toIndex(*file, w.file, Place{&at, "file"}, m.files.size(), "files") ||
        !text(j, "name", w.name, at) || !text(j, "dtype", w.dtype, at) ||
        !array(j, "shape", w.shape, at,
               [&](const json &v, int64_t &item, const Place &place) {
                 return toInt(v, item, place, 0, int64_t(kMaxBytes));
               }) ||
        !size(j, "offset", w.offset, at) || !size(j, "bytes", w.bytes, at))
      return false;
    const CheckpointFile &in = m.files[w.file];
    // No overflow: both are at most 2^56.
    if (w.offset < in.headerBytes || w.offset + w.bytes > in.bytes)
      return fail(at, "bytes " + std::to_string(w.offset) + "+" +
                          std::to_string(w.bytes) + " of '" + w.name +
                          "' lie outside the data of file '" + in.name + "' (" +
                          std::to_string(in.bytes) + " bytes)");
    return true;
  }

  bool table(const json &j, WeightTable &t, const Place &at,
             const Manifest &m) {
    return text(j, "name", t.name, at) &&
           array(j, "weights", t.weights, at,
                 [&](const json &v, uint32_t &item, const Place &place) {
                   return toIndex(v, item, place, m.weights.size(), "weights");
                 });
  }

  bool cache(const json &j, Cache &c, const Place &at) {
    return text(j, "name", c.name, at) &&
           oneOf(j, "kind", c.kind, at,
                 {"window", "compressed", "index", "state"}) &&
           oneOf(j, "format", c.format, at, {"f32", "fp8", "fp4"}) &&
           size(j, "rows", c.rows, at) &&
           array(j, "components", c.components, at,
                 [&](const json &v, CacheComponent &item, const Place &place) {
                   return text(v, "name", item.name, place) &&
                          size(v, "rowBytes", item.rowBytes, place);
                 });
  }

  bool ports(const json &j, const char *name, std::vector<Port> &out,
             const Place &at) {
    return array(
        j, name, out, at, [&](const json &v, Port &item, const Place &place) {
          const json *count = field(v, "count", place);
          return count && toCount(*count, item.count, Place{&place, "count"}) &&
                 text(v, "name", item.name, place) &&
                 oneOf(v, "dtype", item.dtype, place, {"I32", "F32", "BF16"}) &&
                 size(v, "rowBytes", item.rowBytes, place, 1);
        });
  }

  bool arg(const json &j, Arg &a, const Place &at, const Manifest &m,
           const Entry &e, uint64_t workspace) {
    if (!j.is_array() || j.empty())
      return fail(at, "expected an array such as [\"weight\", 3]");
    std::string kind;
    if (!toText(j[0], kind, Place{&at, nullptr, 0}))
      return false;
    bool known = false;
    for (Arg::Kind k : {Arg::Kind::Weight, Arg::Kind::Table, Arg::Kind::Cache,
                        Arg::Kind::Workspace, Arg::Kind::Input,
                        Arg::Kind::Output, Arg::Kind::Count})
      if (kind == argKindName(k)) {
        a.kind = k;
        known = true;
      }
    if (!known)
      return fail(at, "'" + kind + "' is not a kind of argument");
    if (j.size() != (a.kind == Arg::Kind::Cache ? 3u : 2u))
      return fail(at, "a " + kind + " argument has another number of values");
    Place first{&at, nullptr, 1}, second{&at, nullptr, 2};
    switch (a.kind) {
    case Arg::Kind::Weight:
      return toIndex(j[1], a.index, first, m.weights.size(), "weights");
    case Arg::Kind::Table:
      return toIndex(j[1], a.index, first, m.tables.size(), "tables");
    case Arg::Kind::Cache:
      return toIndex(j[1], a.index, first, m.caches.size(), "caches") &&
             toIndex(j[2], a.component, second,
                     m.caches[a.index].components.size(), "components");
    case Arg::Kind::Workspace:
      return toSize(j[1], a.offset, first, 0, workspace);
    case Arg::Kind::Input:
      return toIndex(j[1], a.index, first, e.inputs.size(), "inputs");
    case Arg::Kind::Output:
      return toIndex(j[1], a.index, first, e.outputs.size(), "outputs");
    case Arg::Kind::Count:
      return toCount(j[1], a.count, first);
    }
    return false;
  }

  bool launch(const json &j, Launch &l, const Place &at, const Manifest &m,
              const Entry &e, uint64_t workspace) {
    if (!text(j, "kernel", l.kernel, at) ||
        !size(j, "weightBytes", l.weightBytes, at))
      return false;
    if (!isSymbol(l.kernel))
      return fail(Place{&at, "kernel"}, "not a symbol name");
    auto term = [&](const json &v, GridTerm &item, const Place &place) {
      if (!v.is_array() || v.size() != 3)
        return fail(place, "expected [count, divide, multiply]");
      return toCount(v[0], item.count, Place{&place, nullptr, 0}) &&
             toSize(v[1], item.divide, Place{&place, nullptr, 1}, 1,
                    kMaxCount) &&
             toSize(v[2], item.multiply, Place{&place, nullptr, 2}, 0,
                    kMaxCount);
    };
    std::vector<GridAxis> grid;
    if (!array(j, "grid", grid, at,
               [&](const json &v, GridAxis &axis, const Place &place) {
                 return elements(v, axis, place, term) &&
                        (!axis.empty() ||
                         fail(place, "expected at least one term"));
               }))
      return false;
    if (grid.size() != 3)
      return fail(Place{&at, "grid"}, "expected three axes");
    for (int i = 0; i < 3; ++i)
      l.grid[i] = std::move(grid[i]);
    return array(j, "args", l.args, at,
                 [&](const json &v, Arg &item, const Place &place) {
                   return arg(v, item, place, m, e, workspace);
                 });
  }

  bool entry(const json &j, Entry &e, const Place &at, const Manifest &m) {
    if (!text(j, "name", e.name, at) || !ports(j, "inputs", e.inputs, at) ||
        !ports(j, "outputs", e.outputs, at))
      return false;
    auto specialisation = [&](const json &v, Specialisation &s,
                              const Place &place) {
      return integer(v, "maxTokens", s.maxTokens, place, 1,
                     m.limits.maxStepTokens) &&
             size(v, "workspaceBytes", s.workspaceBytes, place) &&
             array(v, "launches", s.launches, place,
                   [&](const json &l, Launch &item, const Place &where) {
                     return launch(l, item, where, m, e, s.workspaceBytes);
                   });
    };
    if (!array(j, "specialisations", e.specialisations, at, specialisation))
      return false;
    Place list{&at, "specialisations"};
    for (size_t i = 1; i < e.specialisations.size(); ++i)
      if (e.specialisations[i].maxTokens <= e.specialisations[i - 1].maxTokens)
        return fail(Place{&list, nullptr, i}, "maxTokens does not ascend");
    if (e.specialisations.empty() ||
        e.specialisations.back().maxTokens != m.limits.maxStepTokens)
      return fail(list, "none for a step of limits.maxStepTokens tokens");
    return true;
  }

  bool version(const json &j, Manifest &m, const Place &root) {
    std::string format;
    int64_t major = 0, minor = 0;
    if (!text(j, "format", format, root) ||
        !integer(j, "major", major, root, 0) ||
        !integer(j, "minor", minor, root, 0))
      return false;
    if (format != "fathom-package")
      return fail(Place{&root, "format"},
                  "'" + format + "' is not 'fathom-package'");
    m.major = static_cast<int>(major);
    m.minor = static_cast<int>(minor);
    if (m.major == kMajor)
      return true;
    error = "the package has format version " + std::to_string(major) + "." +
            std::to_string(minor) + ", this program reads version " +
            std::to_string(kMajor) + "." + std::to_string(kMinor) +
            "; compile the model again with a fathomc of the same version as "
            "this program";
    return false;
  }

  bool read(const json &j, Manifest &m) {
    const Place root{nullptr, "manifest"};
    if (!version(j, m, root) || !text(j, "producer", m.producer, root))
      return false;
    const json *target = field(j, "target", root);
    if (!target || !this->target(*target, m.target, Place{&root, "target"}))
      return false;
    const json *model = field(j, "model", root);
    const json *limits = model ? field(j, "limits", root) : nullptr;
    const Place atModel{&root, "model"}, atLimits{&root, "limits"};
    if (!limits || !this->model(*model, m.model, atModel) ||
        !integer(*limits, "maxContext", m.limits.maxContext, atLimits, 1) ||
        !integer(*limits, "maxSequences", m.limits.maxSequences, atLimits, 1,
                 1 << 20) ||
        !integer(*limits, "maxStepTokens", m.limits.maxStepTokens, atLimits, 1,
                 1 << 24))
      return false;
    return array(j, "libraries", m.libraries, root,
                 [&](const json &v, Library &item, const Place &at) {
                   return library(v, item, at);
                 }) &&
           libraries(m.libraries, Place{&root, "libraries"}) &&
           array(j, "files", m.files, root,
                 [&](const json &v, CheckpointFile &item, const Place &at) {
                   return checkpointFile(v, item, at);
                 }) &&
           array(j, "weights", m.weights, root,
                 [&](const json &v, Weight &item, const Place &at) {
                   return weight(v, item, at, m);
                 }) &&
           array(j, "tables", m.tables, root,
                 [&](const json &v, WeightTable &item, const Place &at) {
                   return table(v, item, at, m);
                 }) &&
           array(j, "caches", m.caches, root,
                 [&](const json &v, Cache &item, const Place &at) {
                   return cache(v, item, at);
                 }) &&
           array(j, "entries", m.entries, root,
                 [&](const json &v, Entry &item, const Place &at) {
                   return entry(v, item, at, m);
                 }) &&
           array(j, "extraFiles", m.extraFiles, root,
                 [&](const json &v, std::string &item, const Place &at) {
                   return toText(v, item, at) &&
                          (isPlainFileName(item) ||
                           fail(at, "not a file name without a directory"));
                 }) &&
           hash(j, "contentBlake3", m.contentBlake3, root) &&
           text(j, "checkpointDirectory", m.checkpointDirectory, root);
  }
};

} // namespace fathom::format::detail
