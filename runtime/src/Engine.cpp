// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/src/Engine.h"

#include "runtime/format/ManifestJson.h"
#include "runtime/format/MemoryPlan.h"
#include "runtime/src/Limits.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <sys/stat.h>

namespace fathom::rt {

Status Engine::create(const std::string &package,
                      const fathom_engine_options &options,
                      std::shared_ptr<Engine> &out) {
  if (options.threads < 0 || options.threads > 1024)
    return Status(FATHOM_USAGE, std::to_string(options.threads) +
                                    " threads; give 1 to 1024, or 0 for as "
                                    "many as there are CPUs");
  auto engine = std::make_shared<Engine>();
  engine->packageDirectory = package;
  engine->threadCount = options.threads ? options.threads : availableCpus();
  if (Status s = engine->loadManifest(); s.failed())
    return s;
  if (Status s = engine->openDriver(options); s.failed())
    return s;
  if (Status s = engine->chooseCode(options.isa ? options.isa : ""); s.failed())
    return s;
  if (Status s = engine->checkEntries(); s.failed())
    return s;
  if (Status s = engine->checkGrids(); s.failed())
    return s;
  if (Status s =
          engine->mapWeights(options.checkpoint ? options.checkpoint : "");
      s.failed())
    return s;
  if (Status s = engine->loadKernels(); s.failed())
    return s;
  if (Status s = engine->measureSteps(); s.failed())
    return s;
  if (Status s = engine->measureMemory(options); s.failed())
    return s;
  if (Status s = engine->placeWeights(options); s.failed())
    return s;
  out = std::move(engine);
  return Status();
}

Engine::~Engine() {
  if (!device.table)
    return;
  if (!deviceBuffers.empty())
    device.table->release(device.self, deviceRequests.data(),
                          deviceRequests.size(), deviceBuffers.data());
  device.table->destroy(device.self);
}

Status Engine::loadManifest() {
  struct stat info;
  if (stat(packageDirectory.c_str(), &info) != 0) {
    if (errno == ENOENT || errno == ENOTDIR)
      return Status(FATHOM_BAD_FILE, "there is no package '" +
                                         packageDirectory +
                                         "': " + std::strerror(errno));
    return Status::fromErrno("cannot open package '" + packageDirectory + "'",
                             errno);
  }
  if (!S_ISDIR(info.st_mode))
    return Status(FATHOM_BAD_FILE, "'" + packageDirectory +
                                       "' is not a directory; a package is a "
                                       "directory NAME.fathom written by "
                                       "fathomc");
  const std::string path = joinPath(packageDirectory, "manifest.json");
  std::string text;
  if (Status s = readManifest(packageDirectory, format::detail::kMaxText, text);
      s.failed())
    return s;
  if (std::string error = format::parseManifest(text, content); !error.empty())
    return Status(FATHOM_BAD_FILE, "'" + path + "': " + error);
  return Status();
}

Status Engine::mapWeights(const std::string &checkpoint) {
  std::string directory = checkpoint;
  if (directory.empty()) {
    if (content.checkpointDirectory.empty() && !content.files.empty())
      return Status(FATHOM_USAGE,
                    "the package does not say where its weights are; give "
                    "their directory (--checkpoint DIR)");
    directory = content.checkpointDirectory;
    if (directory.empty() || directory[0] != '/')
      directory = joinPath(packageDirectory, directory);
  }
  for (const format::CheckpointFile &file : content.files) {
    const std::string path = joinPath(directory, file.name);
    MappedFile mapped;
    if (Status s = mapped.map(path, file.bytes); s.failed())
      return Status(s.code(),
                    s.message() +
                        (checkpoint.empty() && s.code() == FATHOM_BAD_FILE
                             ? "; if the weights are elsewhere, "
                               "give --checkpoint DIR"
                             : ""));
    if (format::blake3Hex(mapped.data(), file.headerBytes) != file.headerBlake3)
      return Status(FATHOM_BAD_FILE,
                    "'" + path +
                        "' is not the file that the package was compiled for "
                        "(the hash of its safetensors header differs); give "
                        "the right directory with --checkpoint, or compile "
                        "the model again");
    files.push_back(std::move(mapped));
  }
  return Status();
}

Status Engine::placeWeights(const fathom_engine_options &options) {
  // The manifest's reader checked that every range lies within its file.
  weights.reserve(content.weights.size());
  for (const format::Weight &weight : content.weights)
    weights.push_back(files[weight.file].data() + weight.offset);
  if (!device.table->sharesHostMemory)
    return uploadWeights(options);
  if (Status s = device.table->reserveScratch(device.self, scratchPerThread);
      s.failed())
    return s;
  for (const format::WeightTable &table : content.tables) {
    std::vector<const void *> pointers;
    pointers.reserve(table.weights.size());
    for (uint32_t index : table.weights)
      pointers.push_back(weights[index]);
    hostTables.push_back(std::move(pointers));
    tables.push_back(hostTables.back().data());
  }
  if (options.prefault)
    prefault();
  return Status();
}

namespace {

Status badEntry(const format::Entry &entry, const std::string &why) {
  return Status(FATHOM_BAD_FILE,
                "the package's entry '" + entry.name + "' " + why +
                    "; compile the model again with a matching fathomc");
}

/// Notes where port `port` is, once, if its type is what the runtime provides.
bool place(const format::Port &port, int index, const char *name,
           const char *dtype, format::Count count, uint64_t rowBytes,
           int &slot) {
  if (port.name != name || slot != -1)
    return false;
  if ((dtype && port.dtype != dtype) || port.count != count ||
      (rowBytes && port.rowBytes != rowBytes))
    return false;
  slot = index;
  return true;
}

Status mapPorts(const format::Entry &entry, int64_t vocabulary, PortMap &out) {
  using format::Count;
  for (size_t i = 0; i < entry.inputs.size(); ++i) {
    const format::Port &p = entry.inputs[i];
    const int n = static_cast<int>(i);
    if (!place(p, n, "ids", "I32", Count::Tokens, 4, out.ids) &&
        !place(p, n, "positions", "I32", Count::Tokens, 4, out.positions) &&
        !place(p, n, "slots", "I32", Count::Tokens, 4, out.slots) &&
        !place(p, n, "rows", "I32", Count::Rows, 4, out.rows) &&
        !place(p, n, "streams", nullptr, Count::Tokens, 0, out.streamsIn))
      return badEntry(entry, "has an input '" + p.name +
                                 "' that this runtime cannot provide");
  }
  for (size_t i = 0; i < entry.outputs.size(); ++i) {
    const format::Port &p = entry.outputs[i];
    const int n = static_cast<int>(i);
    if (!place(p, n, "logits", "F32", Count::Rows, uint64_t(vocabulary) * 4,
               out.logits) &&
        !place(p, n, "streams", nullptr, Count::Tokens, 0, out.streamsOut)) {
      int layer = -1;
      const std::string name = "layers." + std::to_string(out.layers.size());
      if (place(p, n, name.c_str(), nullptr, Count::Tokens, 0, layer)) {
        out.layers.push_back(layer);
        continue;
      }
      return badEntry(entry, "has an output '" + p.name +
                                 "' that this runtime cannot take");
    }
  }
  if (out.logits < 0)
    return badEntry(entry, "has no output 'logits'");
  return Status();
}

/// Entry "greedy": logits and the last inputs in, the next ones out.
Status mapGreedyPorts(const format::Entry &entry, int64_t vocabulary,
                      PortMap &out) {
  using format::Count;
  for (size_t i = 0; i < entry.inputs.size(); ++i)
    if (!place(entry.inputs[i], int(i), "logits", "F32", Count::Rows,
               uint64_t(vocabulary) * 4, out.logitsIn) &&
        !place(entry.inputs[i], int(i), "positions", "I32", Count::Tokens, 4,
               out.positions))
      return badEntry(entry, "has an input '" + entry.inputs[i].name +
                                 "' that this runtime cannot provide");
  for (size_t i = 0; i < entry.outputs.size(); ++i)
    if (!place(entry.outputs[i], int(i), "ids", "I32", Count::Tokens, 4,
               out.idsOut) &&
        !place(entry.outputs[i], int(i), "positions", "I32", Count::Tokens, 4,
               out.positionsOut))
      return badEntry(entry, "has an output '" + entry.outputs[i].name +
                                 "' that this runtime cannot take");
  if (out.logitsIn < 0 || out.idsOut < 0 || out.positionsOut < 0)
    return badEntry(entry, "lacks one of logits, ids and positions");
  return Status();
}

} // namespace

Status Engine::checkEntries() {
  mtp.assign(content.model.mtpLayers < 64 ? content.model.mtpLayers : 0, -1);
  portMaps.resize(content.entries.size());
  for (size_t i = 0; i < content.entries.size(); ++i) {
    const format::Entry &entry = content.entries[i];
    bool known = entry.name == "step";
    if (known)
      step = static_cast<int>(i);
    for (size_t j = 0; j < mtp.size(); ++j)
      if (entry.name == "mtp." + std::to_string(j)) {
        mtp[j] = static_cast<int>(i);
        known = true;
      }
    if (entry.name == "greedy") {
      greedy = static_cast<int>(i);
      if (Status s =
              mapGreedyPorts(entry, content.model.vocabularySize, portMaps[i]);
          s.failed())
        return s;
    }
    if (!known)
      continue; // that, or of a later minor version
    if (Status s = mapPorts(entry, content.model.vocabularySize, portMaps[i]);
        s.failed())
      return s;
    if (entry.name != "step" && portMaps[i].streamsIn < 0)
      return badEntry(entry, "has no input 'streams'");
  }
  if (step < 0)
    return Status(FATHOM_BAD_FILE, "the package has no entry 'step'");
  // Layers from the first absent one on cannot be run.
  for (size_t j = 0; j < mtp.size(); ++j) {
    const int before = j ? mtp[j - 1] : step;
    if (mtp[j] < 0) {
      mtp.resize(j);
      break;
    }
    const format::Entry &entry = content.entries[mtp[j]];
    const uint64_t row = entry.inputs[portMaps[mtp[j]].streamsIn].rowBytes;
    const int from = portMaps[before].streamsOut;
    if (from < 0 || content.entries[before].outputs[from].rowBytes != row)
      return badEntry(entry, "does not fit the streams of the one before it");
    // One buffer brings them to every layer.
    if (row != format::streamRowBytes(content.entries[step]))
      return badEntry(entry, "takes streams of " + std::to_string(row) +
                                 " bytes a token, which are not the step's");
  }
  return Status();
}

Status Engine::checkGrids() {
  for (const format::Entry &entry : content.entries)
    for (const format::Specialisation &s : entry.specialisations)
      for (const format::Launch &launch : s.launches) {
        // An axis that may be empty counts as one program, so that the product
        // is bounded in whatever order it is taken.
        const __int128 limit = __int128(1) << 40;
        __int128 programs = 1;
        for (const format::GridAxis &axis : launch.grid) {
          __int128 sum = 0;
          for (const format::GridTerm &term : axis) {
            const uint64_t count =
                term.count == format::Count::One ? 1 : uint64_t(s.maxTokens);
            // At most 2^31 each, so the product fits.
            sum += __int128((count + term.divide - 1) / term.divide) *
                   term.multiply;
            if (sum > limit)
              break;
          }
          programs *= std::max<__int128>(sum, 1);
          if (programs > limit)
            break;
        }
        if (programs > limit)
          return badEntry(entry, "launches '" + launch.kernel +
                                     "' on an impossible grid");
      }
  return Status();
}

uint64_t Engine::mappedBytes() const {
  uint64_t total = 0;
  for (const MappedFile &file : files)
    total += file.size();
  return total;
}

namespace {

/// One MiB of the mapping a program: reads or touches it.
struct ReadJob {
  std::vector<std::pair<const uint8_t *, uint64_t>> pieces;
  std::atomic<uint64_t> sum{0};
  uint64_t stride = 0; // 0: every byte
};

void readPieces(void *context, int64_t begin, int64_t end, int) {
  ReadJob &job = *static_cast<ReadJob *>(context);
  uint64_t sum = 0;
  for (int64_t i = begin; i < end; ++i) {
    const auto [data, size] = job.pieces[i];
    if (job.stride) {
      for (uint64_t at = 0; at < size; at += job.stride)
        sum += static_cast<const volatile uint8_t *>(data)[at];
      continue;
    }
    uint64_t lanes[8] = {};
    for (uint64_t at = 0; at + 64 <= size; at += 64) {
      uint64_t line[8];
      std::memcpy(line, data + at, 64);
      for (int lane = 0; lane < 8; ++lane)
        lanes[lane] += line[lane];
    }
    for (uint64_t lane : lanes)
      sum += lane;
  }
  job.sum.fetch_add(sum, std::memory_order_relaxed);
}

void splitFiles(const std::vector<MappedFile> &files, uint64_t limit,
                ReadJob &job) {
  constexpr uint64_t kPiece = uint64_t(1) << 20;
  for (const MappedFile &file : files)
    for (uint64_t at = 0; at < file.size() && limit; at += kPiece) {
      const uint64_t size = std::min({kPiece, file.size() - at, limit});
      job.pieces.emplace_back(file.data() + at, size);
      limit -= size;
    }
}

} // namespace

/// The tensors that kernels read: a checkpoint may hold others.
void Engine::prefault() {
  constexpr uint64_t kPiece = uint64_t(1) << 20;
  ReadJob job;
  job.stride = 4096;
  for (const format::Weight &weight : content.weights) {
    const uint8_t *data = files[weight.file].data() + weight.offset;
    for (uint64_t at = 0; at < weight.bytes; at += kPiece)
      job.pieces.emplace_back(data + at, std::min(kPiece, weight.bytes - at));
    // The last byte's page may be one that no stride meets.
    if (weight.bytes)
      job.pieces.emplace_back(data + weight.bytes - 1, 1);
  }
  device.table->parallel(device.self, readPieces, &job,
                         static_cast<int64_t>(job.pieces.size()));
}

Status Engine::readBandwidth(double seconds, double &bytesPerSecond) {
  std::lock_guard<std::mutex> lock(deviceLock);
  if (!device.table->sharesHostMemory)
    return deviceBandwidth(seconds, bytesPerSecond);
  bytesPerSecond = hostBandwidth(seconds);
  return Status();
}

double Engine::hostBandwidth(double seconds) {
  using Clock = std::chrono::steady_clock;
  ReadJob job;
  splitFiles(files, uint64_t(1) << 30, job);
  uint64_t size = 0;
  for (const auto &piece : job.pieces)
    size += piece.second;
  if (size == 0)
    return 0;
  const int64_t count = static_cast<int64_t>(job.pieces.size());
  auto readAll = [&] {
    device.table->parallel(device.self, readPieces, &job, count);
  };
  readAll(); // page faults are not bandwidth
  uint64_t total = 0;
  const Clock::time_point start = Clock::now();
  double elapsed = 0;
  do {
    readAll();
    total += size;
    elapsed = std::chrono::duration<double>(Clock::now() - start).count();
  } while (elapsed < seconds);
  return double(total) / elapsed;
}

double Engine::launchWeightBytes(int entry, const format::Launch &launch,
                                 int64_t tokens) const {
  const format::Model &model = content.model;
  // The expected share of experts that at least one token chooses.
  const double one = model.experts
                         ? double(model.expertsPerToken) / double(model.experts)
                         : 1.0;
  const double share = 1.0 - std::pow(1.0 - std::min(1.0, one), double(tokens));
  const bool byId = std::any_of(
      launch.args.begin(), launch.args.end(), [&](const format::Arg &arg) {
        return arg.kind == format::Arg::Kind::Input &&
               static_cast<int>(arg.index) == portMaps[entry].ids;
      });
  double total = 0;
  for (const format::Arg &arg : launch.args) {
    if (arg.kind == format::Arg::Kind::Table) {
      for (uint32_t weight : content.tables[arg.index].weights)
        total += share * double(content.weights[weight].bytes);
    } else if (arg.kind == format::Arg::Kind::Weight) {
      const format::Weight &weight = content.weights[arg.index];
      // Tables with a row per token id (embedding, hash routes): one row a
      // token.
      const bool rows = byId && !weight.shape.empty() &&
                        weight.shape[0] == model.vocabularySize;
      total += double(weight.bytes) *
               (rows ? double(tokens) / double(model.vocabularySize) : 1.0);
    }
  }
  return total;
}

uint64_t Engine::stepWeightBytes(int64_t tokens) const {
  const format::Entry &entry = content.entries[step];
  const format::Specialisation *use = &entry.specialisations.back();
  for (const format::Specialisation &s : entry.specialisations)
    if (s.maxTokens >= tokens) {
      use = &s;
      break;
    }
  double total = 0;
  for (const format::Launch &launch : use->launches)
    total += launchWeightBytes(step, launch, tokens);
  return static_cast<uint64_t>(total);
}

} // namespace fathom::rt
