// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/Ascend/Compiler.h"

#include "codegen/Common/Cache.h"
#include "codegen/Common/Process.h"
#include "codegen/Common/ToolJobs.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Base64.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

#include <map>

using namespace llvm;

namespace fathom::ascend {

//===-- What the tool says -----------------------------------------------===//

std::string firstComplaint(StringRef output, bool hasLastStage) {
  for (StringRef line : split(output, '\n')) {
    bool isError = line.contains("error:") || line.contains("[ERROR]") ||
                   line.contains("LLVM ERROR") || line.contains("Assertion") ||
                   line.contains("UNREACHABLE");
    // What calls the stages says that one failed.
    if (!isError || line.contains("Failed to run BiSheng"))
      continue;
    if (!hasLastStage && line.contains("hivmc"))
      continue;
    // Without the place in a file that is gone.
    if (line.starts_with("loc("))
      line = line.drop_front(std::min(line.size(), line.rfind("): ") + 3));
    return line.trim().substr(0, 400).str();
  }
  return "";
}

std::vector<std::string> calledFunctions(StringRef handOver) {
  std::vector<std::string> names;
  static constexpr StringLiteral kDeclared = "func.func private @";
  for (size_t at = handOver.find(kDeclared); at != StringRef::npos;
       at = handOver.find(kDeclared, at)) {
    at += kDeclared.size();
    StringRef line =
        handOver.substr(at).take_until([](char c) { return c == '\n'; });
    if (!line.ends_with("{")) // a body follows
      names.push_back(line.take_until([](char c) { return c == '('; }).str());
  }
  return names;
}

std::string withoutFolders(StringRef handOver) {
  static constexpr StringLiteral kFile = "_bitcode<\"";
  std::string text;
  for (size_t at = handOver.find(kFile); at != StringRef::npos;
       at = handOver.find(kFile)) {
    text += handOver.take_front(at + kFile.size());
    handOver = handOver.drop_front(at + kFile.size());
    StringRef path = handOver.take_until([](char c) { return c == '"'; });
    text += path.rsplit('/').second.empty() ? path : path.rsplit('/').second;
    handOver = handOver.drop_front(path.size());
  }
  return text + handOver.str();
}

namespace {
/// The function of a kernel, or one of the two parts of it.
struct Entry {
  StringRef arguments, body;
};
} // namespace

static std::vector<Entry> entriesOf(StringRef handOver, StringRef kernel) {
  std::vector<Entry> entries;
  for (StringRef part : {"(", "_mix_aic(", "_mix_aiv("}) {
    StringRef rest =
        handOver.split(("func.func @" + kernel + part).str()).second;
    if (rest.empty())
      continue;
    auto [arguments, body] = rest.split(") attributes");
    entries.push_back({arguments, body.split("\n  }").first});
  }
  return entries;
}

/// The value that the operation before `at` defines.
static StringRef valueBefore(StringRef text, size_t at) {
  StringRef line = text.take_front(at).rsplit('\n').second;
  return line.split(" = ").first.trim();
}

/// "%4 = llvm.mlir.constant(72 : i32) : i32" or "%c72 = arith.constant 72 :
/// i32"; nothing: `name` is no positive constant.
static std::optional<int64_t> constantNamed(StringRef body, StringRef name) {
  StringRef value =
      body.split((" " + name + " = ").str())
          .second.split("constant")
          .second.drop_while([](char c) { return c == '(' || c == ' '; })
          .take_while([](char c) { return isDigit(c); });
  int64_t number = 0;
  if (name.empty() || value.getAsInteger(10, number) || number <= 0)
    return std::nullopt;
  return number;
}

/// By how much the loop goes on that begins at `place`, one of the values that
/// a block of the function takes. Nothing: it is no constant.
static std::optional<int64_t> stepFrom(StringRef body, StringRef place) {
  // "%45 = arith.addi %18, %4 overflow<nsw> : i32"
  StringRef step;
  for (StringRef operation : {"add ", "addi "})
    if (StringRef rest = body.split((operation + place + ", ").str()).second;
        !rest.empty())
      step = rest.take_until([](char c) { return c == ' '; });
  return constantNamed(body, step);
}

/// How many blocks a loop is for that begins at `first`, the number of a block:
/// its step, or where a turn takes several programs, by how much those are
/// apart. 0: there is no such loop.
static std::optional<int64_t> blocksOfFor(StringRef text, StringRef body,
                                          StringRef first) {
  // "scf.for %arg9 = %13 to %11 step %c80_i32  : i32 {"
  auto [before, loop] = body.split((" = " + first + " to ").str());
  if (loop.empty())
    return 0;
  StringRef induction = before.rsplit(' ').second;
  std::optional<int64_t> step = constantNamed(
      body,
      loop.split(" step ").second.take_until([](char c) { return c == ' '; }));
  // "%14 = affine.min #map1(%13)[%11]", of the turn's first program: how many
  // are left, or 4, where a turn takes 4.
  size_t cast = loop.find(("index_cast " + induction + " : i32").str());
  if (!step || cast == StringRef::npos)
    return step;
  std::string of = ("(" + valueBefore(loop, cast) + ")[").str();
  StringRef map = loop.take_front(loop.find(of)).rsplit("affine.min ").second;
  StringRef counts =
      text.split((map + " = affine_map<(d0)[s0] -> ((-d0 + s0) ceildiv ").str())
          .second;
  int64_t apart = 0, programs = 0;
  if (!map.starts_with("#") || counts.consumeInteger(10, apart) ||
      !counts.consume_front(", ") || counts.consumeInteger(10, programs))
    return step;
  if (apart * programs != *step)
    return std::nullopt;
  return apart;
}

/// How many blocks the loop over programs is for; 0: there is none, so that a
/// block is a program. Nothing: there is one of another form than the known
/// ones.
static std::optional<int64_t> blocksOf(StringRef text, StringRef body) {
  static constexpr StringLiteral kNumber = " = hivm.hir.get_block_idx";
  for (size_t at = body.find(kNumber); at != StringRef::npos;
       at = body.find(kNumber, at + 1)) {
    // "%17 = llvm.trunc %16 : i64 to i32", then "cf.br ^bb1(%17 : i32)"
    std::string number = (" " + valueBefore(body, at) + " :").str();
    size_t narrow = body.find("trunc" + number);
    if (narrow == StringRef::npos)
      narrow = body.find("trunci" + number);
    if (narrow == StringRef::npos)
      continue;
    StringRef first = valueBefore(body, narrow);
    if (auto blocks = blocksOfFor(text, body, first); !blocks || *blocks)
      return blocks;
    for (size_t branch = body.find("cf.br ^"); branch != StringRef::npos;
         branch = body.find("cf.br ^", branch + 1)) {
      auto [label, operands] = body.substr(branch + 6).split('(');
      SmallVector<StringRef> given, taken;
      operands.split(" :").first.split(given, ", ");
      const auto *it = llvm::find(given, first);
      if (it == given.end())
        continue;
      // "^bb1(%18: i32):"
      body.split(("\n  " + label + "(").str())
          .second.split("):")
          .first.split(taken, ", ");
      if (taken.size() != given.size())
        return std::nullopt;
      return stepFrom(body, taken[it - given.begin()].split(':').first);
    }
  }
  return 0;
}

LaunchFacts launchFacts(StringRef handOver, StringRef kernel,
                        const Target &target) {
  auto constantOf = [&](StringRef function) -> int64_t {
    StringRef body =
        handOver.split(("@" + kernel + "_" + function + "()").str()).second;
    StringRef number =
        body.split("arith.constant ").second.take_while([](char c) {
          return isDigit(c);
        });
    int64_t value = 0;
    return number.getAsInteger(10, value) ? 0 : value;
  };
  LaunchFacts facts;
  facts.workspaceBytes = constantOf("infer_workspace_shape_function");
  facts.taskType = constantOf("infer_task_type_function");
  std::vector<Entry> entries = entriesOf(handOver, kernel);
  facts.understood = !entries.empty();
  for (const Entry &entry : entries) {
    bool flags = entry.arguments.contains("ffts_base_address");
    std::optional<int64_t> blocks = blocksOf(handOver, entry.body);
    bool first = &entry == entries.data();
    // Both parts of a kernel are launched by one call.
    facts.understood &=
        blocks && (first || (facts.flags == flags && facts.blocks == *blocks));
    facts.understood &= !blocks.value_or(0) || *blocks == target.cubeCores ||
                        *blocks == target.vectorCores;
    // A loop was asked for: it is there, if it is needed.
    facts.understood &=
        blocks.value_or(0) || !entry.body.contains("hivm.hir.get_block_idx");
    facts.flags = flags;
    facts.blocks = blocks.value_or(0);
  }
  return facts;
}

//===-- The device library -----------------------------------------------===//

/// Before the name of a function that a hand-over calls.
static constexpr StringLiteral kInterface = "_mlir_ciface_";

/// Names stand behind each other with nothing between them: one ends where
/// another begins, or where their table ends.
static bool isBoundary(StringRef rest) {
  return rest.empty() || rest.starts_with(kInterface) ||
         rest.starts_with("_Z") || rest.starts_with("llvm.") ||
         !(isAlnum(rest.front()) || rest.front() == '_');
}

bool hasSymbol(StringRef library, StringRef name) {
  std::string symbol = name.str();
  if (!name.starts_with(kInterface))
    symbol = kInterface.str() + symbol;
  for (size_t at = library.find(symbol); at != StringRef::npos;
       at = library.find(symbol, at + 1))
    if (isBoundary(library.substr(at + symbol.size())))
      return true;
  return false;
}

namespace {
/// The files of one generation. Names stand in their string tables as they are,
/// also in those that this LLVM cannot read as bitcode.
class Library {
public:
  Library(const Toolchain &toolchain, const Target &target) {
    if (toolchain.library.empty())
      return;
    std::string suffix = target.hasFP8 ? std::string(".") + target.library : "";
    for (const char *part : {"aic", "aiv", "mix.aic", "mix.aiv"})
      bytes.push_back(
          readBytes(toolchain.library + "/meta_op." + part + suffix + ".bc"));
  }
  bool has(const std::string &name) {
    auto [it, fresh] = known.try_emplace(name, false);
    if (fresh)
      it->second = any_of(bytes, [&](const std::string &text) {
        return hasSymbol(text, name);
      });
    return it->second;
  }
  bool empty() const { return bytes.empty(); }

private:
  std::vector<std::string> bytes;
  StringMap<bool> known;
};
} // namespace

//===-- The cache --------------------------------------------------------===//

static std::string cacheEntry(const Job &job, const Toolchain &toolchain,
                              const CompilerOptions &options) {
  std::string key = "ascend 2\n" + toolchain.version + "\n" +
                    toolchain.generatorIdentity(*job.target) + "\n";
  for (const std::string &argument : compilerArguments(*job.target, "", "", ""))
    key += argument + "\n";
  return entryIn(options.cache, hashOf(key + job.module) + ".hivm");
}

/// An entry is JSON.
static bool fromCache(Job &job, const std::string &path) {
  std::optional<std::string> bytes = readKept(path);
  if (!bytes)
    return false;
  Expected<json::Value> value = json::parse(*bytes);
  if (!value) {
    consumeError(value.takeError());
    return false;
  }
  json::Path::Root root;
  json::ObjectMapper map(*value, root);
  std::string handOver, object;
  std::vector<char> decoded;
  if (!map || !map.map("handOver", handOver) || !map.map("object", object) ||
      handOver.empty())
    return false;
  if (Error error = decodeBase64(object, decoded)) {
    consumeError(std::move(error));
    return false;
  }
  job.handOver = std::move(handOver);
  job.object.assign(decoded.begin(), decoded.end());
  job.cached = true;
  return true;
}

static void toCache(const Job &job, const std::string &path) {
  std::string bytes;
  raw_string_ostream(bytes) << json::Value(json::Object{
      {"handOver", job.handOver}, {"object", encodeBase64(job.object)}});
  keep(path, bytes);
}

//===-- Compiling --------------------------------------------------------===//

/// Without CANN the tool gets a last stage that makes nothing. Its status then
/// says how its own work ended; and where it finds none, the 950's does all of
/// it five times over. It tells no version, as if there were none.
static constexpr StringLiteral kStandIn = R"(#!/bin/sh
[ "$1" = --version ] && exit 1
while [ $# -gt 0 ]; do [ "$1" = -o ] && output=$2; shift; done
: > "$output"
)";

static bool writeStandIn(const std::string &folder, const Target &target) {
  const std::string path = folder + "/" + generatorName(target).str();
  return !sys::fs::create_directories(folder) && writeBytes(path, kStandIn) &&
         !sys::fs::setPermissions(path, sys::fs::owner_all);
}

/// One kernel in a folder of its own.
static Error compileOne(Job &job, const std::string &folder,
                        const Toolchain &toolchain,
                        const CompilerOptions &options) {
  const std::string source = folder + "/kernel.mlir",
                    object = folder + "/kernel.o", last = folder + "/last";
  if (!writeBytes(source, job.module))
    return cannotWrite(source);
  std::vector<std::string> arguments =
      compilerArguments(*job.target, source, folder, object);
  std::string program = toolchain.compilerFor(*job.target);
  bool hasGenerator = !toolchain.generatorFor(*job.target).empty();
  if (!hasGenerator) {
    if (!writeStandIn(last, *job.target))
      return cannotWrite(last);
    const std::string front[] = {
        "-c", R"(PATH="$0:$PATH"; export PATH; exec "$@")", last, program};
    arguments.insert(arguments.begin(), std::begin(front), std::end(front));
    program = "/bin/sh";
  }
  ToolRun run =
      runToolTwice(program, arguments, options.timeoutSeconds, folder);
  // A kernel at which it does not come to an end is refused like others.
  if (run.end != ToolEnd::Waiting)
    if (Error error =
            machinesRefusal(run, toolchain.compilerFor(*job.target),
                            job.kernel + " for " + job.target->name, folder))
      return error;
  job.handOver = readBytes(folder + "/module.hivm.opt.mlir");
  if (hasGenerator)
    job.object = readBytes(object);
  // What it says of attempts that it gave up for others is no refusal.
  if (!run.good()) {
    job.refusal = firstComplaint(run.output, hasGenerator);
    if (job.refusal.empty())
      job.refusal = lastWords(run.output);
  } else if (job.handOver.empty()) {
    job.refusal = "it handed nothing over to the last stage";
  } else if (hasGenerator && job.object.empty()) {
    job.refusal = "it wrote no object";
  }
  if (!job.refusal.empty()) {
    job.handOver.clear();
    job.object.clear();
  }
  return Error::success();
}

/// What is said of the hand-overs.
static void inspect(MutableArrayRef<Job> jobs, const Toolchain &toolchain) {
  std::map<const Target *, Library> libraries;
  for (Job &job : jobs) {
    job.handOver = withoutFolders(job.handOver);
    if (!job.handOver.empty() &&
        !launchFacts(job.handOver, job.kernel, *job.target).understood) {
      job.refusal = "how to launch it cannot be read from what was handed "
                    "over, which has another form than that of 1.2.0";
      job.object.clear();
    }
    auto it = libraries.try_emplace(job.target, toolchain, *job.target).first;
    if (it->second.empty())
      continue;
    for (const std::string &name : calledFunctions(job.handOver))
      if (!it->second.has(name))
        job.unresolved.push_back(name);
  }
}

Error compileModules(MutableArrayRef<Job> jobs, const Toolchain &toolchain,
                     const CompilerOptions &options) {
  auto work = [&](size_t i, const std::string &folder) -> Error {
    Job &job = jobs[i];
    std::string entry;
    if (!options.cache.empty())
      entry = cacheEntry(job, toolchain, options);
    if (!entry.empty() && fromCache(job, entry))
      return Error::success();
    if (Error error = compileOne(job, folder, toolchain, options))
      return error;
    if (!entry.empty() && !job.handOver.empty())
      toCache(job, entry);
    return Error::success();
  };
  if (Error error =
          runJobs(jobs.size(), options.parallel, options.progress, work))
    return error;
  if (!options.cache.empty())
    pruneKept(options.cache);
  inspect(jobs, toolchain);
  return Error::success();
}

} // namespace fathom::ascend
