// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fathom verify: the logits of a package against stored ones.
#include "tools/OptionNumbers.h"
#include "tools/fathom/Npz.h"

#include "runtime/src/Files.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <sys/stat.h>

namespace fathom::tool {

namespace {

using json = nlohmann::ordered_json;

struct VerifyOptions {
  EngineOptions engine;
  std::string golden;
  double maxKl = -1, minTop1 = -1, maxDifference = -1; // negative: not given
  bool json = false;
};

/// How one row of numbers differs from another.
struct RowDifference {
  int64_t position = 0;
  double largest = 0, mean = 0, kl = 0;
  bool sameTop = false, clearTop = false;
};

int64_t argmaxOf(const double *row, int64_t size) {
  return std::max_element(row, row + size) - row;
}

/// log of the sum of exponentials.
double logSum(const double *row, int64_t size) {
  const double top = *std::max_element(row, row + size);
  double sum = 0;
  for (int64_t i = 0; i < size; ++i)
    sum += std::exp(row[i] - top);
  return top + std::log(sum);
}

RowDifference compare(const double *wanted, const double *found, int64_t size) {
  RowDifference d;
  const double wantedSum = logSum(wanted, size), foundSum = logSum(found, size);
  for (int64_t i = 0; i < size; ++i) {
    const double difference = std::fabs(found[i] - wanted[i]);
    // NaN must not look like agreement.
    d.largest =
        std::isnan(difference) ? INFINITY : std::max(d.largest, difference);
    d.mean += difference / double(size);
    d.kl += std::exp(wanted[i] - wantedSum) *
            (wanted[i] - wantedSum - found[i] + foundSum);
  }
  const int64_t top = argmaxOf(wanted, size);
  d.sameTop = argmaxOf(found, size) == top;
  double second = -INFINITY;
  for (int64_t i = 0; i < size; ++i)
    if (i != top)
      second = std::max(second, wanted[i]);
  d.clearTop = wanted[top] - second > 2e-3;
  return d;
}

/// What a layer puts out against what is stored for it: relative L2 by
/// position.
struct LayerDifference {
  int32_t layer = 0;
  const NpzArray *wanted = nullptr;
  std::vector<double> relative;
  double median() const {
    std::vector<double> sorted = relative;
    std::sort(sorted.begin(), sorted.end());
    return sorted.empty() ? 0 : sorted[sorted.size() / 2];
  }
  double largest() const {
    return relative.empty()
               ? 0
               : *std::max_element(relative.begin(), relative.end());
  }
};

/// A comparison in all.
struct Summary {
  double largest = 0, mean = 0, meanKl = 0, largestKl = 0;
  int64_t rows = 0, sameTop = 0, clearWrong = 0;

  void add(const RowDifference &d) {
    largest = std::max(largest, d.largest);
    largestKl = std::max(largestKl, d.kl);
    mean = (mean * double(rows) + d.mean) / double(rows + 1);
    meanKl = (meanKl * double(rows) + d.kl) / double(rows + 1);
    ++rows;
    sameTop += d.sameTop;
    clearWrong += d.clearTop && !d.sameTop;
  }
  double top1() const { return rows ? double(sameTop) / double(rows) : 0; }
};

class Verify {
public:
  explicit Verify(const VerifyOptions &options) : options(options) {}
  Failure execute();

private:
  Failure findGolden();
  Failure choose();
  Failure chooseLayers();
  void compareLayers(size_t golden, int64_t row);
  Failure run();
  std::string judge();
  Summary storedPair(const char *a, const char *b) const;
  Failure report(const std::string &complaint);
  Failure bad(const std::string &why) const {
    return {FATHOM_BAD_FILE, "'" + path + "' " + why,
            "a golden file has ids [N], positions [P] and one of logits, f32 "
            "and native [P, vocabulary]"};
  }

  const VerifyOptions &options;
  EnginePtr engine;
  SessionPtr session; // goes before its engine
  fathom_model_info info = {};
  std::string path, numerics, chosen;
  std::map<std::string, NpzArray> arrays;
  std::vector<int32_t> ids;
  std::vector<RowDifference> rows;
  std::vector<LayerDifference> layers;
  Summary summary;
};

/// --golden, or the one that the package carries.
Failure Verify::findGolden() {
  path = options.golden;
  struct stat status;
  if (path.empty()) {
    const std::string &package = options.engine.package;
    if (stat(package.c_str(), &status) != 0 && errno == ENOENT)
      return {FATHOM_BAD_FILE,
              "cannot open '" + package + "': " + std::strerror(ENOENT), ""};
    path = rt::joinPath(package, "golden.npz");
    if (stat(path.c_str(), &status) != 0)
      return {FATHOM_USAGE,
              "'" + options.engine.package + "' carries no golden logits",
              "give them with --golden FILE.npz, or compile with --golden"};
  }
  return readNpz(path, arrays);
}

/// Which array to hold against: logits of these numerics where the file has
/// them, else the exact ones.
Failure Verify::choose() {
  numerics = info.numerics;
  for (const char *name : {"logits", numerics == "published" ? "native" : "f32",
                           "f32", "native"})
    if (chosen.empty() && arrays.count(name))
      chosen = name;
  if (chosen.empty())
    return bad("has no logits");
  if (!arrays.count("ids"))
    return bad("has no ids");
  for (double id : arrays["ids"].values) {
    if (!(id >= 0 && id < double(info.vocabulary_size)))
      return bad("has a token id that the model does not have");
    ids.push_back(int32_t(id));
  }
  const NpzArray &logits = arrays[chosen];
  if (logits.shape.size() != 2 || logits.shape[1] != info.vocabulary_size)
    return bad("has logits for another vocabulary: the model's has " +
               std::to_string(info.vocabulary_size) + " tokens");
  if (!arrays.count("positions")) {
    NpzArray all;
    for (int64_t i = 0; i < logits.rows(); ++i)
      all.values.push_back(double(i));
    all.shape = {logits.rows()};
    arrays["positions"] = all;
  }
  const std::vector<double> &positions = arrays["positions"].values;
  if (ids.empty() || positions.empty())
    return bad("has nothing to compare: no ids, or no positions");
  if (int64_t(positions.size()) != logits.rows())
    return bad("has other numbers of positions and of rows of logits");
  for (size_t i = 0; i < positions.size(); ++i)
    if (!(positions[i] >= 0 && positions[i] < double(ids.size())) ||
        positions[i] != std::floor(positions[i]) ||
        (i && positions[i] <= positions[i - 1]))
      return bad("has positions that do not ascend within its ids");
  if (int64_t(ids.size()) > info.max_context)
    return {FATHOM_RESOURCES,
            "the golden sequence has " + std::to_string(ids.size()) +
                " tokens, the package was compiled for " +
                std::to_string(info.max_context),
            "compile the model with a larger --max-context"};
  return {};
}

/// Arrays layers.N of the file: [P, streams * width] after layer N.
Failure Verify::chooseLayers() {
  for (int32_t layer = 0; layer < info.layers; ++layer) {
    auto found = arrays.find("layers." + std::to_string(layer));
    if (found == arrays.end())
      continue;
    uint64_t rowBytes = 0;
    int32_t isF32 = 0;
    if (!fathom_session_layer_streams(session.get(), layer, &rowBytes, &isF32))
      return {FATHOM_UNSUPPORTED,
              "'" + path + "' has layers, and the package does not give what "
                           "its layers put out",
              "compile with --layer-outputs, or take the layers out of the "
              "file"};
    const int64_t width = int64_t(rowBytes / (isF32 ? 4 : 2));
    if (found->second.rows() != arrays[chosen].rows() ||
        found->second.columns() != width)
      return bad("has other rows for layer " + std::to_string(layer) +
                 " than [positions, " + std::to_string(width) + "]");
    layers.push_back({layer, &found->second, {}});
  }
  return {};
}

/// Row `golden` of the file against row `row` of the last call.
void Verify::compareLayers(size_t golden, int64_t row) {
  for (LayerDifference &layer : layers) {
    uint64_t rowBytes = 0;
    int32_t isF32 = 0;
    const uint8_t *data =
        static_cast<const uint8_t *>(fathom_session_layer_streams(
            session.get(), layer.layer, &rowBytes, &isF32)) +
        uint64_t(row) * rowBytes;
    const int64_t width = layer.wanted->columns();
    const double *wanted = layer.wanted->values.data() + golden * size_t(width);
    double error = 0, norm = 0;
    for (int64_t i = 0; i < width; ++i) {
      uint32_t bits = 0;
      std::memcpy(&bits, data + i * (isF32 ? 4 : 2), isF32 ? 4 : 2);
      bits <<= isF32 ? 0 : 16; // BF16 is the upper half
      float value = 0;
      std::memcpy(&value, &bits, 4);
      error += (value - wanted[i]) * (value - wanted[i]);
      norm += wanted[i] * wanted[i];
    }
    layer.relative.push_back(norm > 0 ? std::sqrt(error / norm)
                                      : std::sqrt(error));
  }
}

Failure Verify::run() {
  fathom_session_options wanted = {};
  wanted.max_sequences = 1;
  wanted.max_logit_rows = info.max_step_tokens;
  fathom_session *made = nullptr;
  if (Failure f = failure(fathom_session_create(engine.get(), &wanted, &made)))
    return f;
  session.reset(made);
  int32_t slot = 0;
  if (Failure f = failure(fathom_session_add(session.get(), &slot)))
    return f;
  if (Failure f = chooseLayers())
    return f;
  const NpzArray &golden = arrays[chosen];
  const std::vector<double> &positions = arrays["positions"].values;
  std::vector<double> found(info.vocabulary_size);
  Progress progress("verify");
  size_t next = 0;
  for (int64_t at = 0; at < int64_t(ids.size()) && next < positions.size();) {
    const int64_t count =
        std::min<int64_t>(info.max_step_tokens, int64_t(ids.size()) - at);
    const fathom_tokens feed = {slot, ids.data() + at, count, count};
    const float *logits = nullptr;
    if (Failure f =
            failure(fathom_step(session.get(), &feed, 1, nullptr, &logits)))
      return f;
    for (; next < positions.size() && positions[next] < double(at + count);
         ++next) {
      const int64_t position = int64_t(positions[next]);
      const float *row = logits + (position - at) * info.vocabulary_size;
      std::copy(row, row + info.vocabulary_size, found.begin());
      rows.push_back(compare(golden.values.data() +
                                 next * size_t(info.vocabulary_size),
                             found.data(), info.vocabulary_size));
      rows.back().position = position;
      compareLayers(next, position - at);
      summary.add(rows.back());
    }
    at += count;
    progress.update(at, int64_t(ids.size()));
  }
  return {};
}

/// How far two arrays of the file are apart themselves; no rows where one is
/// missing.
Summary Verify::storedPair(const char *a, const char *b) const {
  Summary out;
  auto x = arrays.find(a), y = arrays.find(b);
  if (x == arrays.end() || y == arrays.end() ||
      x->second.shape != y->second.shape || x->second.shape.size() != 2)
    return out;
  const int64_t size = x->second.shape[1];
  for (int64_t i = 0; i < x->second.rows(); ++i)
    out.add(compare(x->second.values.data() + i * size,
                    y->second.values.data() + i * size, size));
  return out;
}

std::string text(const char *format, double a, double b) {
  char out[160];
  std::snprintf(out, sizeof(out), format, a, b);
  return out;
}

/// Empty, or what is not as it should be. Limits that are given hold; without
/// them: exact numerics are held tightly, the others to how much the published
/// code differs from itself, where the file tells.
std::string Verify::judge() {
  if (!(summary.largest < INFINITY))
    return "some logits are not finite";
  const bool given = options.maxKl >= 0 || options.minTop1 >= 0 ||
                     options.maxDifference >= 0;
  if (options.maxKl >= 0 && !(summary.meanKl <= options.maxKl))
    return text("mean KL %.3g, at most %.3g is allowed", summary.meanKl,
                options.maxKl);
  if (options.minTop1 >= 0 && !(summary.top1() >= options.minTop1))
    return text("top-1 agrees in %.4g of the positions, at least %.4g is "
                "asked for",
                summary.top1(), options.minTop1);
  if (options.maxDifference >= 0 && !(summary.largest <= options.maxDifference))
    return text("largest difference %.3g, at most %.3g is allowed",
                summary.largest, options.maxDifference);
  if (given)
    return "";
  if (numerics == "f32")
    for (const LayerDifference &layer : layers)
      if (!(layer.median() <= 1e-3))
        return text("layer %.0f: median relative difference %.3g, at most "
                    "0.001 is allowed",
                    layer.layer, layer.median());
  if (numerics == "f32" && chosen == "f32") {
    if (!(summary.largest <= 5e-4))
      return text("largest difference %.3g, at most %.3g is allowed",
                  summary.largest, 5e-4);
    return summary.clearWrong ? "another top-1 where the stored one is clear"
                              : "";
  }
  const Summary own = numerics == "published"
                          ? storedPair("native", "native_decode")
                          : storedPair("f32", "native");
  if (own.rows && chosen != "logits") {
    if (!(summary.mean <= own.mean))
      return text("mean difference %.3g, more than the published code's own "
                  "of %.3g",
                  summary.mean, own.mean);
    return "";
  }
  if (!(summary.meanKl <= 0.1))
    return text("mean KL %.3g, at most %.3g is allowed", summary.meanKl, 0.1);
  return "";
}

Failure Verify::report(const std::string &complaint) {
  if (options.json) {
    json positions = json::array();
    for (const RowDifference &row : rows)
      positions.push_back({{"position", row.position},
                           {"max_difference", row.largest},
                           {"mean_difference", row.mean},
                           {"kl", row.kl},
                           {"top1_equal", row.sameTop}});
    json out = {{"schema_version", 1},
                {"golden", path},
                {"against", chosen},
                {"numerics", numerics},
                {"passed", complaint.empty()},
                {"complaint", complaint},
                {"positions_compared", summary.rows},
                {"max_difference", summary.largest},
                {"mean_difference", summary.mean},
                {"mean_kl", summary.meanKl},
                {"max_kl", summary.largestKl},
                {"top1", summary.top1()},
                {"positions", positions}};
    json byLayer = json::array();
    for (const LayerDifference &layer : layers)
      byLayer.push_back({{"layer", layer.layer},
                         {"median_relative_difference", layer.median()},
                         {"max_relative_difference", layer.largest()}});
    if (!layers.empty())
      out["layers"] = byLayer;
    if (Failure f = printOut(out.dump(2) + "\n"))
      return f;
    return flushOut();
  }
  char line[256];
  std::snprintf(line, sizeof(line),
                "%lld positions of %zu tokens against '%s', numerics %s\n"
                "difference   mean %.3g, largest %.3g\n"
                "KL           mean %.3g, largest %.3g\n"
                "top-1        equal in %lld of %lld\n",
                static_cast<long long>(summary.rows), ids.size(),
                chosen.c_str(), numerics.c_str(), summary.mean, summary.largest,
                summary.meanKl, summary.largestKl,
                static_cast<long long>(summary.sameTop),
                static_cast<long long>(summary.rows));
  std::string out = line;
  // Where to look: the positions that differ most.
  std::vector<RowDifference> worst = rows;
  std::sort(worst.begin(), worst.end(), [](const auto &a, const auto &b) {
    return a.kl != b.kl ? a.kl > b.kl : a.position < b.position;
  });
  worst.resize(std::min<size_t>(worst.size(), 5));
  out += "\nposition     KL      largest    top-1\n";
  for (const RowDifference &row : worst) {
    std::snprintf(line, sizeof(line), "%8lld  %8.3g   %8.3g   %s\n",
                  static_cast<long long>(row.position), row.kl, row.largest,
                  row.sameTop ? "equal" : "DIFFERS");
    out += line;
  }
  if (!layers.empty())
    out += "\nlayer   relative difference: median, largest\n";
  for (const LayerDifference &layer : layers) {
    std::snprintf(line, sizeof(line), "%5d   %.3g   %.3g\n", layer.layer,
                  layer.median(), layer.largest());
    out += line;
  }
  if (complaint.empty())
    out += "\nverified\n";
  if (Failure f = printOut(out))
    return f;
  return flushOut();
}

Failure Verify::execute() {
  if (Failure f = findGolden())
    return f;
  if (Failure f = openEngine(options.engine, engine))
    return f;
  fathom_engine_info(engine.get(), &info);
  if (Failure f = choose())
    return f;
  if (Failure f = run())
    return f;
  const std::string complaint = judge();
  if (Failure f = report(complaint))
    return f;
  if (complaint.empty())
    return {};
  return {FATHOM_FAILED, "the package does not agree with '" + path + "': " +
                             complaint,
          "check that weights and package belong together (fathom inspect), "
          "and that numerics are those of the golden file"};
}

} // namespace

void addVerify(CLI::App &app, int &code) {
  CLI::App *command = app.add_subcommand(
      "verify", "Compare the logits of a package with stored ones");
  auto options = std::make_shared<VerifyOptions>();
  options->engine.addTo(*command);
  command
      ->add_option("--golden", options->golden,
                   "numpy archive with ids, positions and logits; by default "
                   "the one that the package carries")
      ->type_name("FILE.npz");
  auto limit = [&](const char *name, double &value, const char *text,
                   double most = 1e30) {
    command->add_option(name, value, text)
        ->type_name("X")
        ->transform(numberIn(0.0, most));
  };
  limit("--max-kl", options->maxKl, "Largest mean KL divergence allowed");
  limit("--min-top1", options->minTop1,
        "Smallest share of positions with the same most likely token", 1.0);
  limit("--max-difference", options->maxDifference,
        "Largest difference of any logit allowed");
  command->add_flag("--json", options->json,
                    "Print one JSON object, every position in it");
  command->footer(
      "The sequence `ids` [N] is fed as a whole; at `positions` [P] (without\n"
      "them at all) its logits are compared with `logits` [P, vocabulary], or\n"
      "`native` for published numerics and `f32` for the others. Without\n"
      "limits, f32 numerics must agree to 5e-4; the others may differ as much\n"
      "as the published code's own numbers in the file do, or by a mean KL of\n"
      "0.1 where it has none. Arrays layers.N [P, streams * width] are held\n"
      "against the streams after layer N of packages compiled with\n"
      "--layer-outputs, in f32 to a median relative difference of 1e-3. Exit code 1 where they do not agree.\n\n"
      "Examples:\n"
      "  fathom verify M.fathom --golden golden.npz\n"
      "  fathom verify M.fathom --golden golden.npz --max-kl 0.01 --json");
  command->callback([options, &code] {
    const Failure failed = Verify(*options).execute();
    code = failed ? fail(failed) : FATHOM_OK;
  });
}

} // namespace fathom::tool
