// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the subcommands of `fathom` share: handles, messages, token lists.
// Every command returns an exit code of fathom_code.
#pragma once

#include "runtime/include/fathom.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace fathom::tool {

/// A failure that has a message for the user; turned into "error: ..." and an
/// exit code by fail().
struct Failure {
  int code = FATHOM_OK;
  std::string message, help;
  explicit operator bool() const { return code != FATHOM_OK; }
};

inline Failure failure(const fathom_status &status) {
  return {status.code, status.message, ""};
}

/// No space, no permission and the like is FATHOM_RESOURCES, the rest
/// FATHOM_FAILED.
Failure systemFailure(const std::string &what, int error);

/// Prints "error: MESSAGE" and, if there is one, "help: HELP"; returns the
/// code.
int fail(const Failure &failure);

struct EngineDeleter {
  void operator()(fathom_engine *e) const { fathom_engine_destroy(e); }
};
struct SessionDeleter {
  void operator()(fathom_session *s) const { fathom_session_destroy(s); }
};
struct DetokenizerDeleter {
  void operator()(fathom_detokenizer *d) const {
    fathom_detokenizer_destroy(d);
  }
};
using EnginePtr = std::unique_ptr<fathom_engine, EngineDeleter>;
using SessionPtr = std::unique_ptr<fathom_session, SessionDeleter>;
using DetokenizerPtr = std::unique_ptr<fathom_detokenizer, DetokenizerDeleter>;

/// Options that every command which runs a model has.
struct EngineOptions {
  std::string package, checkpoint, cpu, pin = "auto", numa = "local", driver;
  int threads = 0;
  std::optional<int> device; // not given: $FATHOM_DEVICE, or 0
  uint64_t memoryBytes = 0;  // 0: what there is
  bool hugePages = false, prefault = false;
  void addTo(CLI::App &app);
};
Failure openEngine(const EngineOptions &options, EnginePtr &out);

/// "5,17,3" with optional blanks; ids are 0 .. 2^31-1, the model's range is
/// checked by the runtime. `where` begins a message ("--tokens").
Failure parseTokens(const std::string &text, const std::string &where,
                    std::vector<int32_t> &out);
/// One sequence a line; blank lines are passed over.
Failure readTokensFile(const std::string &path,
                       std::vector<std::vector<int32_t>> &out);

/// Index of the largest value, the lowest of equal ones. NaN never wins.
int32_t argmax(const float *values, int64_t count);

/// Writes to stdout and notices when that fails (a full disk, a closed pipe).
/// What fails once fails ever after, with the first reason.
Failure printOut(const std::string &text);
Failure flushOut();

/// Where a file that is made anew and renamed goes: `path`, or what it links
/// to. FATHOM_USAGE for what exists and is no regular file, which renaming
/// would replace.
Failure outputPath(const std::string &path, std::string &out);
/// `text` becomes the file as a whole, or it stays as it was.
Failure writeAnew(const std::string &path, const std::string &text);

/// Lines on stderr for work that takes longer than two seconds, at most one a
/// second.
class Progress {
public:
  explicit Progress(std::string what);
  ~Progress();
  void update(int64_t done, int64_t total);

private:
  std::string what;
  int64_t started, last;
  bool terminal, shown = false;
};

/// Seconds on a clock that only goes forward.
double seconds();

// The commands: declare options on `app`, which runs `*code = ...` when chosen.
void addRun(CLI::App &app, int &code);
void addLogits(CLI::App &app, int &code);
void addInspect(CLI::App &app, int &code);
void addBench(CLI::App &app, int &code);
void addChat(CLI::App &app, int &code);
void addRender(CLI::App &app, int &code);
void addTokenize(CLI::App &app, int &code);
void addDetokenize(CLI::App &app, int &code);
void addVerify(CLI::App &app, int &code);

} // namespace fathom::tool
