// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "tools/fathom/Tool.h"

#include "tools/OptionNumbers.h"

#include <CLI/CLI.hpp>

#include <algorithm>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

namespace fathom::tool {

constexpr int kMaxDevice = 1023;

Failure systemFailure(const std::string &what, int error) {
  bool scarce = error == ENOSPC || error == EDQUOT || error == EFBIG ||
                error == ENOMEM || error == EMFILE || error == ENFILE ||
                error == EACCES || error == EPERM || error == EROFS;
  return {scarce ? FATHOM_RESOURCES : FATHOM_FAILED,
          what + ": " + std::strerror(error), ""};
}

int fail(const Failure &failure) {
  std::fflush(stdout);
  std::fprintf(stderr, "error: %s\n", failure.message.c_str());
  if (!failure.help.empty())
    std::fprintf(stderr, "help: %s\n", failure.help.c_str());
  return failure.code;
}

void EngineOptions::addTo(CLI::App &app) {
  app.add_option("PACKAGE", package, "The compiled model, NAME.fathom")
      ->required();
  app.add_option("--checkpoint", checkpoint,
                 "Directory of the weights, if not where the package says")
      ->type_name("DIR");
  app.add_option("--threads", threads,
                 "Threads; 0, the default: as many as there are CPUs")
      ->type_name("N")
      ->transform(numberIn(0, 1024));
  app.add_option("--pin", pin,
                 "Where threads run: auto, none, or CPUs such as 0-3,8")
      ->type_name("CPUS")
      ->capture_default_str();
  app.add_option("--numa", numa,
                 "Where memory lies: local, or interleave for all nodes")
      ->check(CLI::IsMember({"local", "interleave"}))
      ->capture_default_str();
  app.add_option("--memory", memoryBytes,
                 "Memory that weights and caches may take, such as 96GB; by "
                 "default all that the machine has")
      ->type_name("BYTES")
      ->transform(CLI::AsSizeValue(true))
      ->transform(startsWithNumber());
  app.add_flag("--huge-pages", hugePages,
               "Ask for huge pages for caches and workspace");
  app.add_flag("--prefault", prefault,
               "Read all weights into memory before the first step");
  app.add_option("--cpu", cpu,
                 "Instruction-set level, such as x86-64-v3; by default the "
                 "best that CPU and package have")
      ->type_name("LEVEL")
      ->envname("FATHOM_CPU");
  app.add_option("--driver", driver,
                 "What executes: host, cuda, ascend, or emulated (the CPU as a "
                 "device with memory of its own, for tests); by default what "
                 "the package was compiled for")
      ->type_name("NAME")
      ->envname("FATHOM_DRIVER");
  // The parser would judge the variable for commands without the option, too.
  app.add_option("--device", device,
                 "Which one, where there are several; default: "
                 "$FATHOM_DEVICE, or 0")
      ->type_name("N")
      ->transform(numberIn(0, kMaxDevice));
}

/// Of an option that was not given.
static Failure deviceOfEnvironment(int &out) {
  const char *text = std::getenv("FATHOM_DEVICE");
  out = 0;
  if (!text || !*text ||
      (readNumber(std::string(text), out) && out >= 0 && out <= kMaxDevice))
    return {};
  return {FATHOM_USAGE,
          std::string("FATHOM_DEVICE in the environment is '") + text +
              "', no number from 0 to " + std::to_string(kMaxDevice),
          "unset it, or give --device N"};
}

Failure openEngine(const EngineOptions &options, EnginePtr &out) {
  int device = options.device.value_or(0);
  if (!options.device)
    if (Failure f = deviceOfEnvironment(device))
      return f;
  fathom_engine_options c = {};
  c.checkpoint =
      options.checkpoint.empty() ? nullptr : options.checkpoint.c_str();
  c.threads = options.threads;
  c.pin = options.pin.c_str();
  c.numa = options.numa.c_str();
  c.memory_bytes = options.memoryBytes;
  c.huge_pages = options.hugePages;
  c.prefault = options.prefault;
  c.isa = options.cpu.empty() ? nullptr : options.cpu.c_str();
  c.driver = options.driver.empty() ? nullptr : options.driver.c_str();
  c.device = device;
  Progress progress("weights to the device, MB");
  c.progress = [](void *context, uint64_t done, uint64_t total) {
    static_cast<Progress *>(context)->update(int64_t(done / 1000000),
                                             int64_t(total / 1000000));
  };
  c.progress_context = &progress;
  fathom_engine *engine = nullptr;
  fathom_status status =
      fathom_engine_create(options.package.c_str(), &c, &engine);
  out.reset(engine);
  if (status.code != FATHOM_OK)
    return failure(status);
  fathom_model_info info;
  fathom_engine_info(engine, &info);
  const std::string used = info.driver;
  if (options.device.value_or(0) > 0 && (used == "host" || used == "emulated"))
    return {FATHOM_USAGE,
            "--device " + std::to_string(device) + ": the driver '" + used +
                "' is this machine's CPUs, of which there is no other",
            "leave it out; --pin and --numa say which CPUs"};
  return {};
}

Failure parseTokens(const std::string &text, const std::string &where,
                    std::vector<int32_t> &out) {
  out.clear();
  auto bad = [&](size_t at, const std::string &why) {
    return Failure{FATHOM_USAGE,
                   where + ", column " + std::to_string(at + 1) + ": " + why,
                   "give token ids separated by commas, such as 5,17,3"};
  };
  auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  size_t at = 0;
  for (;;) {
    while (at < text.size() && blank(text[at]))
      ++at;
    const size_t begin = at;
    int64_t value = 0;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9') {
      value = value * 10 + (text[at] - '0');
      if (value > INT32_MAX)
        return bad(begin, "the token id is out of range");
      ++at;
    }
    if (at == begin)
      return bad(at, at < text.size()
                         ? std::string("expected a token id, found '") +
                               text[at] + "'"
                         : "expected a token id, found the end");
    out.push_back(static_cast<int32_t>(value));
    while (at < text.size() && blank(text[at]))
      ++at;
    if (at == text.size())
      return {};
    if (text[at] != ',')
      return bad(at, std::string("expected a comma, found '") + text[at] + "'");
    ++at;
  }
}

Failure readTokensFile(const std::string &path,
                       std::vector<std::vector<int32_t>> &out) {
  std::unique_ptr<FILE, int (*)(FILE *)> file(std::fopen(path.c_str(), "re"),
                                              std::fclose);
  struct stat info;
  // As rt::readFile, but a pipe will do.
  if (!file && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
    return {FATHOM_BAD_FILE,
            "cannot open '" + path + "': " + std::strerror(errno), ""};
  if (!file || fstat(fileno(file.get()), &info) != 0)
    return systemFailure("cannot open '" + path + "'", errno);
  if (S_ISDIR(info.st_mode))
    return {FATHOM_BAD_FILE,
            "cannot read '" + path + "': " + std::strerror(EISDIR), ""};
  char *line = nullptr;
  size_t capacity = 0, number = 0;
  ssize_t size = 0;
  Failure failed;
  while (!failed && (size = getline(&line, &capacity, file.get())) >= 0) {
    ++number;
    std::string text(line, size_t(size));
    while (!text.empty() && (text.back() == '\n' || text.back() == '\r'))
      text.pop_back();
    if (text.find_first_not_of(" \t") == std::string::npos)
      continue;
    std::vector<int32_t> ids;
    failed = parseTokens(text, "'" + path + "', line " + std::to_string(number),
                         ids);
    out.push_back(std::move(ids));
  }
  if (!failed && std::ferror(file.get()))
    failed = systemFailure("cannot read '" + path + "'", errno);
  std::free(line);
  if (!failed && out.empty())
    failed = {FATHOM_USAGE, "'" + path + "' has no tokens",
              "write one sequence a line, its ids separated by commas"};
  return failed;
}

int32_t argmax(const float *values, int64_t count) {
  // Lanes, so that the compiler can take vectors; NaN is above nothing.
  constexpr int64_t kLanes = 16;
  const float least = -std::numeric_limits<float>::infinity();
  float lanes[kLanes];
  std::fill_n(lanes, kLanes, least);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (int64_t lane = 0; lane < kLanes; ++lane)
      lanes[lane] =
          values[i + lane] > lanes[lane] ? values[i + lane] : lanes[lane];
  for (; i < count; ++i)
    lanes[0] = values[i] > lanes[0] ? values[i] : lanes[0];
  const float largest = *std::max_element(lanes, lanes + kLanes);
  const float *found = std::find(values, values + count, largest);
  return found == values + count ? 0 : static_cast<int32_t>(found - values);
}

static Failure outputFailure(int error) {
  static const int first = error; // stdio forgets why, but not that it failed
  return systemFailure("cannot write to standard output", first);
}

Failure printOut(const std::string &text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size())
    return outputFailure(errno);
  return {};
}

Failure flushOut() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout))
    return outputFailure(errno);
  return {};
}

/// The machine refuses, whatever the reason.
static Failure cannotWrite(const std::string &path, int error) {
  return {FATHOM_RESOURCES,
          "cannot write to '" + path + "': " + std::strerror(error),
          error == ENOENT ? "create the folder first, or correct the path"
                          : ""};
}

Failure outputPath(const std::string &path, std::string &out) {
  out = path;
  struct stat info;
  if (stat(path.c_str(), &info) != 0)
    return {};
  if (S_ISDIR(info.st_mode))
    return cannotWrite(path, EISDIR);
  if (!S_ISREG(info.st_mode))
    return {FATHOM_USAGE, "cannot write to '" + path + "': it is no file",
            "name a file; a device or a pipe would be replaced by one"};
  std::unique_ptr<char, decltype(&std::free)> real(
      realpath(path.c_str(), nullptr), std::free);
  if (!real)
    return cannotWrite(path, errno);
  out = real.get();
  return {};
}

Failure writeAnew(const std::string &path, const std::string &text) {
  std::string target;
  if (Failure f = outputPath(path, target))
    return f;
  const std::string temporary = target + ".tmp." + std::to_string(getpid());
  FILE *file = std::fopen(temporary.c_str(), "wxe");
  if (!file)
    return cannotWrite(path, errno);
  int error = 0;
  if (std::fwrite(text.data(), 1, text.size(), file) != text.size())
    error = errno;
  if (std::fclose(file) != 0 && !error)
    error = errno;
  if (!error && std::rename(temporary.c_str(), target.c_str()) != 0)
    error = errno;
  if (!error)
    return {};
  std::remove(temporary.c_str());
  return cannotWrite(path, error);
}

double seconds() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return double(t.tv_sec) + double(t.tv_nsec) * 1e-9;
}

Progress::Progress(std::string what)
    : what(std::move(what)), started(int64_t(seconds())), last(started + 1),
      terminal(isatty(STDERR_FILENO)) {}

Progress::~Progress() {
  if (shown && terminal)
    std::fputc('\n', stderr);
}

void Progress::update(int64_t done, int64_t total) {
  const int64_t now = int64_t(seconds());
  // On a terminal a line is written over; in a log, one each ten seconds.
  if (now - last < (terminal ? 1 : 10))
    return;
  last = now;
  shown = true;
  std::fprintf(stderr, "%s%s: %lld of %lld, %lld s%s", terminal ? "\r" : "",
               what.c_str(), static_cast<long long>(done),
               static_cast<long long>(total),
               static_cast<long long>(now - started), terminal ? " " : "\n");
  std::fflush(stderr);
}

} // namespace fathom::tool
