// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fathom bench: speed and memory of a compiled model on this machine.
#include "tools/OptionNumbers.h"
#include "tools/PeakMemory.h"
#include "tools/fathom/Tool.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <limits>
#include <sys/utsname.h>
#include <unistd.h>

namespace fathom::tool {

namespace {

using json = nlohmann::ordered_json;

struct BenchOptions {
  EngineOptions engine;
  int64_t promptTokens = 512, newTokens = 64, context = 0, sequences = 1;
  int64_t repeat = 3;
  bool json = false, perKernel = false;
};

/// What was not measured is no number: null in JSON.
constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

double quotient(double value, double by) {
  return by > 0 ? value / by : kUnknown;
}

/// The value below which `share` of the sorted samples lie (nearest rank).
double percentile(const std::vector<double> &sorted, double share) {
  if (sorted.empty())
    return kUnknown;
  const size_t rank = size_t(std::ceil(share * double(sorted.size())));
  return sorted[std::min(sorted.size(), std::max<size_t>(rank, 1)) - 1];
}

double total(const std::vector<double> &samples) {
  double sum = 0;
  for (double s : samples)
    sum += s;
  return sum;
}

json percentiles(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  return {{"p50", percentile(samples, 0.5)},
          {"p90", percentile(samples, 0.9)},
          {"p99", percentile(samples, 0.99)},
          {"count", samples.size()}};
}

/// "model name" of /proc/cpuinfo, or the architecture.
std::string cpuName() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line))
    if (line.rfind("model name", 0) == 0)
      if (size_t at = line.find(": "); at != std::string::npos)
        return line.substr(at + 2);
  utsname name;
  return uname(&name) == 0 ? name.machine : "unknown";
}

class Bench {
public:
  explicit Bench(const BenchOptions &options)
      : options(options), progress("bench") {}

  Failure execute() {
    const double start = seconds();
    if (Failure f = openEngine(options.engine, engine))
      return f;
    loadSeconds = seconds() - start;
    fathom_engine_info(engine.get(), &info);
    if (Failure f = checkLengths())
      return f;
    fathom_session_options wanted = {};
    wanted.max_sequences = options.sequences;
    wanted.max_logit_rows = options.sequences;
    fathom_session *made = nullptr;
    if (Failure f =
            failure(fathom_session_create(engine.get(), &wanted, &made)))
      return f;
    session.reset(made);
    if (Failure f =
            failure(fathom_session_memory_for(engine.get(), &wanted, &memory)))
      return f;
    makePrompts();
    if (Failure f = measure(start))
      return f;
    if (Failure f = readBandwidth())
      return f;
    return report();
  }

private:
  /// A plain read of the weights. Memory speed differs from moment to moment,
  /// so it is measured before and after decoding and the mean counts.
  Failure readBandwidth() {
    double once = 0;
    if (Failure f =
            failure(fathom_engine_read_bandwidth(engine.get(), 0.25, &once)))
      return f;
    bandwidth = bandwidth > 0 ? (bandwidth + once) / 2 : once;
    return {};
  }

  Failure checkLengths() {
    const int64_t length =
        options.context + options.promptTokens + options.newTokens;
    if (length > info.max_context)
      return {FATHOM_RESOURCES,
              "context, prompt and new tokens are " + std::to_string(length) +
                  " together, the package was compiled for " +
                  std::to_string(info.max_context),
              "ask for fewer, or compile with a larger --max-context"};
    if (options.sequences > info.max_sequences)
      return {FATHOM_RESOURCES,
              std::to_string(options.sequences) +
                  " sequences, the package was compiled for " +
                  std::to_string(info.max_sequences),
              "ask for fewer, or compile with a larger --max-sequences"};
    return {};
  }

  /// Random ids, the same in each run.
  void makePrompts() {
    uint64_t state = 1;
    prompts.resize(options.sequences);
    for (std::vector<int32_t> &prompt : prompts)
      for (int64_t i = 0; i < options.promptTokens; ++i) {
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        prompt.push_back(
            int32_t((state >> 33) % uint64_t(info.vocabulary_size)));
      }
  }

  Failure startSequences() {
    slots.assign(options.sequences, 0);
    for (int32_t &slot : slots) {
      if (Failure f = failure(fathom_session_add(session.get(), &slot)))
        return f;
      if (options.context)
        if (Failure f = failure(fathom_session_fill_synthetic(
                session.get(), slot, options.context)))
          return f;
    }
    return {};
  }

  Failure endSequences() {
    for (int32_t slot : slots)
      if (Failure f = failure(fathom_session_remove(session.get(), slot)))
        return f;
    return {};
  }

  /// One step over all sequences; the next ids go to `ids`.
  Failure step(const std::vector<fathom_tokens> &feed,
               std::vector<int32_t> &ids) {
    const float *rows = nullptr;
    if (Failure f = failure(fathom_step(session.get(), feed.data(), feed.size(),
                                        nullptr, &rows)))
      return f;
    for (size_t i = 0; i < ids.size(); ++i)
      ids[i] = argmax(rows + int64_t(i) * info.vocabulary_size,
                      info.vocabulary_size);
    return {};
  }

  Failure measure(double start) {
    const int64_t rounds = options.repeat;
    for (int64_t round = 0; round < rounds; ++round) {
      const bool last = round + 1 == rounds;
      if (Failure f = startSequences())
        return f;
      std::vector<fathom_tokens> feed;
      for (size_t i = 0; i < slots.size(); ++i)
        feed.push_back({slots[i], prompts[i].data(), options.promptTokens, 1});
      std::vector<int32_t> ids(slots.size(), 0);
      fathom_session_profile(session.get(), options.perKernel && last);
      const double before = seconds();
      if (Failure f = step(feed, ids))
        return f;
      prefill.push_back(seconds() - before);
      if (round == 0)
        firstToken = seconds() - start;
      progress.update(round + 1, rounds);
      if (last) { // decode goes on from the last prompt
        if (Failure f = readBandwidth())
          return f;
        if (Failure f = decode(ids))
          return f;
      }
      if (Failure f = endSequences())
        return f;
    }
    return {};
  }

  Failure decode(std::vector<int32_t> &ids) {
    if (!onHost())
      return decodeAhead(ids);
    for (int64_t n = 0; n < options.newTokens; ++n) {
      std::vector<fathom_tokens> feed;
      for (size_t i = 0; i < slots.size(); ++i)
        feed.push_back({slots[i], &ids[i], 1, 1});
      const double before = seconds();
      if (Failure f = step(feed, ids))
        return f;
      decodeSteps.push_back(seconds() - before);
      progress.update(n + 1, options.newTokens);
    }
    return {};
  }

  bool onHost() const { return !std::strcmp(info.driver, "host"); }

  /// A device goes on by itself; its steps are timed in groups. What is
  /// recorded for them is recorded before the clock runs.
  Failure decodeAhead(std::vector<int32_t> &ids) {
    constexpr int64_t kGroup = 8;
    std::vector<int32_t> chosen(slots.size() * size_t(kGroup));
    for (int64_t n = 0; n < options.newTokens;) {
      const int64_t steps =
          n == 0 ? 1 : std::min(kGroup, options.newTokens - n);
      const double before = seconds();
      if (Failure f =
              failure(fathom_generate(session.get(), slots.data(), ids.data(),
                                      slots.size(), steps, chosen.data())))
        return f;
      const double each = (seconds() - before) / double(steps);
      if (n > 0 || options.newTokens == 1)
        decodeSteps.insert(decodeSteps.end(), size_t(steps), each);
      for (size_t i = 0; i < ids.size(); ++i)
        ids[i] = chosen[i * size_t(steps) + size_t(steps) - 1];
      n += steps;
      progress.update(n, options.newTokens);
    }
    return {};
  }

  json machine() const {
    utsname name;
    json out;
    out["cpu"] = cpuName();
    out["cpus"] = sysconf(_SC_NPROCESSORS_ONLN);
    out["threads"] = info.threads;
    out["isa"] = info.isa;
    out["driver"] = info.driver;
    out["device"] = info.device;
    out["memory_bytes"] =
        uint64_t(sysconf(_SC_PHYS_PAGES)) * uint64_t(sysconf(_SC_PAGE_SIZE));
    if (uname(&name) == 0)
      out["system"] = std::string(name.sysname) + " " + name.release;
    return out;
  }

  json kernels() const {
    std::vector<fathom_kernel_time> times(
        fathom_session_kernel_times(session.get(), nullptr, 0));
    fathom_session_kernel_times(session.get(), times.data(), times.size());
    std::sort(times.begin(), times.end(), [](const auto &a, const auto &b) {
      return a.nanoseconds > b.nanoseconds;
    });
    json out = json::array();
    for (const fathom_kernel_time &t : times)
      out.push_back({{"entry", t.entry},
                     {"max_tokens", t.max_tokens},
                     {"kernel", t.kernel},
                     {"launches", t.launches},
                     {"programs", t.programs},
                     {"seconds", double(t.nanoseconds) * 1e-9},
                     {"weight_bytes", t.weight_bytes}});
    return out;
  }

  json results() const {
    // The first prefill also reads the weights for the first time.
    std::vector<double> warm(prefill.begin() + (prefill.size() > 1 ? 1 : 0),
                             prefill.end());
    const double prefillTokens = double(options.promptTokens) *
                                 double(options.sequences) *
                                 double(warm.size());
    const double steps = double(decodeSteps.size());
    const double decodeSeconds = total(decodeSteps);
    const double stepRate = quotient(steps, decodeSeconds);
    const uint64_t stepBytes =
        fathom_engine_step_weight_bytes(engine.get(), options.sequences);
    json out;
    out["schema_version"] = 1;
    out["prompt_tokens"] = options.promptTokens;
    out["new_tokens"] = options.newTokens;
    out["context"] = options.context;
    out["sequences"] = options.sequences;
    out["numerics"] = info.numerics;
    out["prefill_tokens_per_second"] = quotient(prefillTokens, total(warm));
    out["prefill_seconds"] = percentiles(warm);
    out["decode_tokens_per_second"] = stepRate * double(options.sequences);
    out["decode_step_seconds"] = percentiles(decodeSteps);
    out["decode_bytes_per_step"] = stepBytes;
    out["decode_bytes_per_second"] = stepRate * double(stepBytes);
    out["read_bandwidth_bytes_per_second"] = bandwidth;
    out["decode_share_of_read_bandwidth"] =
        quotient(stepRate * double(stepBytes), bandwidth);
    out["time_to_first_token_seconds"] = firstToken;
    out["load_seconds"] = loadSeconds;
    out["peak_resident_bytes"] = peakResidentBytes();
    out["mapped_weight_bytes"] = info.weight_bytes;
    out["cache_bytes"] = memory.cache_bytes;
    out["workspace_bytes"] = memory.workspace_bytes;
    out["planned_peak_bytes"] = memory.peak_bytes;
    out["planned_session_bytes"] = memory.total_bytes;
    out["allocated_session_bytes"] =
        fathom_session_allocated_bytes(session.get());
    out["machine"] = machine();
    if (options.perKernel)
      out["kernels"] = kernels();
    return out;
  }

  Failure report() {
    const json out = results();
    std::string text;
    if (options.json) {
      text = out.dump(2) + "\n";
    } else {
      auto line = [&](const char *name, const std::string &value) {
        char head[32];
        std::snprintf(head, sizeof(head), "%-22s", name);
        text += head + value + "\n";
      };
      auto number = [&](const char *key, double scale, const char *unit) {
        const double known = out[key].get<double>() * scale;
        char value[64];
        std::snprintf(value, sizeof(value), "%.4g %s", known, unit);
        if (std::isnan(known))
          return std::string("-");
        return std::string(value);
      };
      line("prefill", number("prefill_tokens_per_second", 1, "tokens/s"));
      line("decode", number("decode_tokens_per_second", 1, "tokens/s"));
      char shares[160];
      const json &p = out["decode_step_seconds"];
      std::snprintf(shares, sizeof(shares),
                    "p50 %.3g ms, p90 %.3g ms, p99 %.3g ms",
                    p["p50"].get<double>() * 1e3, p["p90"].get<double>() * 1e3,
                    p["p99"].get<double>() * 1e3);
      line("decode step", decodeSteps.empty() ? "-" : shares);
      line("weights read", number("decode_bytes_per_second", 1e-9, "GB/s"));
      line("read bandwidth",
           number("read_bandwidth_bytes_per_second", 1e-9, "GB/s"));
      line("share of bandwidth",
           number("decode_share_of_read_bandwidth", 100, "%"));
      line("first token after", number("time_to_first_token_seconds", 1, "s"));
      line("load", number("load_seconds", 1, "s"));
      line("peak memory", number("peak_resident_bytes", 1e-6, "MB"));
      line("machine", out["machine"]["cpu"].get<std::string>() + ", " +
                          std::to_string(info.threads) + " threads, " +
                          info.isa);
      if (!onHost())
        line("device", info.device + std::string(", driver ") + info.driver);
      if (options.perKernel)
        text += kernelTable(out["kernels"]);
    }
    if (Failure f = printOut(text))
      return f;
    return flushOut();
  }

  static std::string kernelTable(const json &kernels) {
    std::string text = "\n      ms  launches  programs    GB/s  kernel\n";
    for (const json &k : kernels) {
      char row[96];
      const double seconds = k["seconds"].get<double>();
      std::snprintf(
          row, sizeof(row), "%8.2f  %8llu  %8llu  %6.1f  ", seconds * 1e3,
          k["launches"].get<unsigned long long>(),
          k["programs"].get<unsigned long long>(),
          seconds > 0 ? k["weight_bytes"].get<double>() / seconds * 1e-9 : 0.0);
      text += row + k["kernel"].get<std::string>() + " (" +
              k["entry"].get<std::string>() + ", up to " +
              std::to_string(k["max_tokens"].get<int64_t>()) + ")\n";
    }
    return text;
  }

  const BenchOptions &options;
  EnginePtr engine;
  SessionPtr session; // goes before its engine
  fathom_model_info info = {};
  fathom_session_memory memory = {};
  std::vector<std::vector<int32_t>> prompts;
  std::vector<int32_t> slots;
  std::vector<double> prefill, decodeSteps;
  double loadSeconds = 0, firstToken = 0, bandwidth = 0;
  Progress progress;
};

} // namespace

void addBench(CLI::App &app, int &code) {
  CLI::App *command =
      app.add_subcommand("bench", "Measure speed and memory on this machine");
  auto o = std::make_shared<BenchOptions>();
  o->engine.addTo(*command);
  const int64_t most = int64_t(1) << 31;
  auto number = [&](const char *name, int64_t &value, int64_t least,
                    const char *help) {
    command->add_option(name, value, help)
        ->type_name("N")
        ->transform(numberIn(least, most))
        ->capture_default_str();
  };
  number("--prompt-tokens", o->promptTokens, 1, "Tokens of the prompt");
  number("--new-tokens", o->newTokens, 0, "Tokens to generate after it");
  number("--context", o->context, 0,
         "Start from caches that hold so many tokens already (synthetic)");
  number("--sequences", o->sequences, 1, "Sequences at once");
  number("--repeat", o->repeat, 1,
         "Prefill so often; the first one counts for the first token only");
  command->add_flag("--per-kernel", o->perKernel,
                    "Time each kernel of the last round");
  command->add_flag("--json", o->json, "Print a JSON object");
  command->footer(
      "decode_bytes_per_second counts the weights that a step reads, an "
      "expert\n"
      "as often as it is expected to be chosen; compare it with the read\n"
      "bandwidth, measured over the same mapping by the same threads. What "
      "was\n"
      "not measured is null in JSON (schema_version 1), otherwise -.\n\n"
      "Examples:\n"
      "  fathom bench M.fathom --prompt-tokens 512 --new-tokens 64 --threads "
      "2\n"
      "  fathom bench M.fathom --context 30000 --sequences 4 --json");
  command->callback([o, &code] {
    Failure failed;
    {
      Bench bench(*o);
      failed = bench.execute();
    }
    code = failed ? fail(failed) : FATHOM_OK;
  });
}

} // namespace fathom::tool
