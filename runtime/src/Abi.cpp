// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The C ABI: handles around the C++ objects. No exception leaves it.
#include "runtime/format/Version.h"
#include "runtime/include/fathom.h"
#include "runtime/src/Engine.h"
#include "runtime/src/Session.h"
#include "runtime/text/Detokenizer.h"
#include "runtime/text/Tokenizer.h"

#include <algorithm>
#include <exception>
#include <new>

using namespace fathom::rt;

struct fathom_engine {
  std::shared_ptr<Engine> engine;
};
struct fathom_session {
  std::unique_ptr<Session> session;
};
struct fathom_detokenizer {
  Detokenizer decoder;
  int64_t ids = 0; // that the model or the tokenizer has: 0 .. ids - 1
};
struct fathom_tokenizer {
  Tokenizer tokenizer;
  Tokenizer::Scratch scratch;
  std::vector<int32_t> ids;
};

namespace {

template <typename Body> fathom_status guarded(Body body) {
  try {
    return body().toC();
  } catch (const std::bad_alloc &) {
    return Status(FATHOM_RESOURCES, "out of memory").toC();
  } catch (const std::exception &error) {
    return Status(FATHOM_FAILED, std::string("internal error: ") + error.what())
        .toC();
  }
}

Status missing(const char *what) {
  return Status(FATHOM_USAGE, std::string(what) + " is NULL");
}

bool hasTokenizer(const Engine &engine) {
  const auto &files = engine.manifest().extraFiles;
  return std::find(files.begin(), files.end(), "tokenizer.json") != files.end();
}

Status readTokenizer(const std::string &path, std::string &out) {
  return readFile(path, uint64_t(256) << 20, out);
}

/// The text of the package's tokenizer.json.
Status readTokenizer(const Engine &engine, std::string &out) {
  if (!hasTokenizer(engine))
    return Status(FATHOM_UNSUPPORTED, "the package has no tokenizer.json");
  return readTokenizer(joinPath(engine.directory(), "tokenizer.json"), out);
}

} // namespace

fathom_status fathom_engine_create(const char *package,
                                   const fathom_engine_options *options,
                                   fathom_engine **engine) {
  return guarded([&]() -> Status {
    if (!engine)
      return missing("engine");
    *engine = nullptr;
    if (!package)
      return missing("package");
    std::shared_ptr<Engine> made;
    if (Status s = Engine::create(
            package, options ? *options : fathom_engine_options{}, made);
        s.failed())
      return s;
    *engine = new fathom_engine{std::move(made)};
    return Status();
  });
}

void fathom_engine_destroy(fathom_engine *engine) {
  if (engine)
    engine->engine->leave(); // even where sessions keep the engine
  delete engine;
}

void fathom_engine_info(const fathom_engine *handle, fathom_model_info *info) {
  if (info)
    *info = fathom_model_info{};
  if (!handle || !info)
    return;
  const Engine &engine = *handle->engine;
  const fathom::format::Manifest &m = engine.manifest();
  info->architecture = m.model.architecture.c_str();
  info->numerics = m.model.numerics.c_str();
  info->isa = engine.isa().c_str();
  info->driver = engine.driver().table->name;
  info->device = engine.deviceName().c_str();
  info->producer = m.producer.c_str();
  info->vocabulary_size = m.model.vocabularySize;
  info->hidden_size = m.model.hiddenSize;
  info->layers = m.model.layers;
  info->mtp_layers = engine.mtpLayers();
  info->max_context = m.limits.maxContext;
  info->max_sequences = m.limits.maxSequences;
  info->max_step_tokens = m.limits.maxStepTokens;
  info->bos_token = m.model.bosToken;
  info->eos_tokens = m.model.eosTokens.data();
  info->eos_token_count = m.model.eosTokens.size();
  info->weight_bytes = engine.mappedBytes();
  info->threads = engine.threads();
  info->has_tokenizer = hasTokenizer(engine);
}

fathom_status fathom_engine_read_bandwidth(fathom_engine *engine,
                                           double seconds,
                                           double *bytes_per_second) {
  return guarded([&]() -> Status {
    if (!engine || !bytes_per_second)
      return missing("an argument");
    return engine->engine->readBandwidth(seconds, *bytes_per_second);
  });
}

uint64_t fathom_engine_step_weight_bytes(const fathom_engine *engine,
                                         int64_t tokens) {
  return engine ? engine->engine->stepWeightBytes(tokens) : 0;
}

fathom_status fathom_session_memory_for(const fathom_engine *engine,
                                        const fathom_session_options *options,
                                        fathom_session_memory *memory) {
  return guarded([&]() -> Status {
    if (!engine || !memory)
      return missing("an argument");
    return Session::memoryFor(*engine->engine,
                              options ? *options : fathom_session_options{},
                              *memory);
  });
}

fathom_status fathom_session_create(fathom_engine *engine,
                                    const fathom_session_options *options,
                                    fathom_session **session) {
  return guarded([&]() -> Status {
    if (!session)
      return missing("session");
    *session = nullptr;
    if (!engine)
      return missing("engine");
    std::unique_ptr<Session> made;
    if (Status s = Session::create(
            engine->engine, options ? *options : fathom_session_options{},
            made);
        s.failed())
      return s;
    *session = new fathom_session{std::move(made)};
    return Status();
  });
}

void fathom_session_destroy(fathom_session *session) { delete session; }

fathom_status fathom_session_read_cache(const fathom_session *session,
                                        const char *cache,
                                        const char *component, int32_t slot,
                                        uint64_t offset, uint64_t size,
                                        void *out) {
  return guarded([&]() -> Status {
    if (!session || !cache || !component || (size && !out))
      return missing("an argument");
    return session->session->readCache(cache, component, slot, offset, size,
                                       out);
  });
}

const void *fathom_session_layer_streams(const fathom_session *session,
                                         int32_t layer, uint64_t *row_bytes,
                                         int32_t *is_f32) {
  try {
    const fathom::format::Port *port = nullptr;
    const void *rows =
        session ? session->session->layerStreams(layer, &port) : nullptr;
    if (rows && row_bytes)
      *row_bytes = port->rowBytes;
    if (rows && is_f32)
      *is_f32 = port->dtype == "F32";
    return rows;
  } catch (const std::exception &) {
    return nullptr;
  }
}

uint64_t fathom_session_allocated_bytes(const fathom_session *session) {
  return session ? session->session->allocatedBytes() : 0;
}

fathom_status fathom_session_add(fathom_session *session, int32_t *slot) {
  return guarded([&]() -> Status {
    if (!session || !slot)
      return missing("an argument");
    return session->session->add(*slot);
  });
}

fathom_status fathom_session_remove(fathom_session *session, int32_t slot) {
  return guarded([&]() -> Status {
    if (!session)
      return missing("session");
    return session->session->remove(slot);
  });
}

int64_t fathom_session_length(const fathom_session *session, int32_t slot) {
  return session ? session->session->length(slot) : -1;
}

int64_t fathom_session_mtp_length(const fathom_session *session, int32_t layer,
                                  int32_t slot) {
  return session ? session->session->mtpLength(layer, slot) : -1;
}

fathom_status fathom_session_fill_synthetic(fathom_session *session,
                                            int32_t slot, int64_t length) {
  return guarded([&]() -> Status {
    if (!session)
      return missing("session");
    return session->session->fillSynthetic(slot, length);
  });
}

fathom_status fathom_step(fathom_session *session,
                          const fathom_tokens *sequences, size_t sequence_count,
                          float *logits, const float **rows) {
  return guarded([&]() -> Status {
    if (!session)
      return missing("session");
    return session->session->feed(0, sequences, sequence_count, logits, rows);
  });
}

fathom_status fathom_mtp(fathom_session *session, int32_t layer,
                         const fathom_tokens *sequences, size_t sequence_count,
                         float *logits, const float **rows) {
  return guarded([&]() -> Status {
    if (!session)
      return missing("session");
    const int layers = session->session->stages() - 1;
    if (layer < 0 || layer >= layers)
      return Status(FATHOM_UNSUPPORTED, "MTP layer " + std::to_string(layer) +
                                            " was asked for, the package has " +
                                            std::to_string(layers));
    return session->session->feed(layer + 1, sequences, sequence_count, logits,
                                  rows);
  });
}

fathom_status fathom_generate(fathom_session *session, const int32_t *slots,
                              const int32_t *ids, size_t count, int64_t steps,
                              int32_t *chosen) {
  return guarded([&]() -> Status {
    if (!session)
      return missing("session");
    return session->session->generate(slots, ids, count, steps, chosen);
  });
}

void fathom_session_profile(fathom_session *session, int32_t enable) {
  if (session)
    session->session->profile(enable != 0);
}

size_t fathom_session_kernel_times(const fathom_session *session,
                                   fathom_kernel_time *records,
                                   size_t capacity) {
  if (!session)
    return 0;
  try {
    const std::vector<fathom_kernel_time> all = session->session->kernelTimes();
    if (records)
      std::copy_n(all.begin(), std::min(capacity, all.size()), records);
    return all.size();
  } catch (const std::bad_alloc &) {
    return 0;
  }
}

fathom_status fathom_detokenizer_create(const fathom_engine *engine,
                                        fathom_detokenizer **detokenizer) {
  return guarded([&]() -> Status {
    if (!detokenizer)
      return missing("detokenizer");
    *detokenizer = nullptr;
    if (!engine)
      return missing("engine");
    std::string text;
    if (Status s = readTokenizer(*engine->engine, text); s.failed())
      return s;
    auto made = std::make_unique<fathom_detokenizer>();
    if (Status s = made->decoder.load(text); s.failed())
      return s;
    made->ids = std::max<int64_t>(
        engine->engine->manifest().model.vocabularySize, made->decoder.size());
    *detokenizer = made.release();
    return Status();
  });
}

void fathom_detokenizer_destroy(fathom_detokenizer *detokenizer) {
  delete detokenizer;
}

namespace {

template <typename Call>
fathom_status decode(fathom_detokenizer *detokenizer, const char **text,
                     size_t *size, Call call) {
  return guarded([&]() -> Status {
    if (!detokenizer || !text || !size)
      return missing("an argument");
    const std::string_view out = call(detokenizer->decoder);
    *text = out.data();
    *size = out.size();
    return Status();
  });
}

/// The rest of the vocabulary, up to the model's size, has no text.
Status checkId(const fathom_detokenizer &detokenizer, int32_t id) {
  if (id >= 0 && id < detokenizer.ids)
    return Status();
  return Status(FATHOM_USAGE, "token id " + std::to_string(id) +
                                  " is out of range, there are ids 0 to " +
                                  std::to_string(detokenizer.ids - 1));
}

} // namespace

fathom_status fathom_detokenizer_add(fathom_detokenizer *detokenizer,
                                     int32_t id, const char **text,
                                     size_t *size) {
  if (detokenizer) {
    fathom_status status = guarded([&] { return checkId(*detokenizer, id); });
    if (status.code != FATHOM_OK)
      return status;
  }
  return decode(detokenizer, text, size,
                [&](Detokenizer &decoder) { return decoder.add(id); });
}

fathom_status fathom_detokenizer_flush(fathom_detokenizer *detokenizer,
                                       const char **text, size_t *size) {
  return decode(detokenizer, text, size,
                [&](Detokenizer &decoder) { return decoder.flush(); });
}

namespace {

template <typename Read>
fathom_status makeTokenizer(const void *from, fathom_tokenizer **tokenizer,
                            Read read) {
  return guarded([&]() -> Status {
    if (!tokenizer)
      return missing("tokenizer");
    *tokenizer = nullptr;
    if (!from)
      return missing("the source of the tokenizer");
    std::string text;
    if (Status s = read(text); s.failed())
      return s;
    auto made = std::make_unique<fathom_tokenizer>();
    if (Status s = made->tokenizer.load(text); s.failed())
      return s;
    *tokenizer = made.release();
    return Status();
  });
}

} // namespace

fathom_status fathom_tokenizer_create(const fathom_engine *engine,
                                      fathom_tokenizer **tokenizer) {
  return makeTokenizer(engine, tokenizer, [&](std::string &text) {
    return readTokenizer(*engine->engine, text);
  });
}

fathom_status fathom_tokenizer_open(const char *file,
                                    fathom_tokenizer **tokenizer) {
  return makeTokenizer(file, tokenizer, [&](std::string &text) {
    return readTokenizer(std::string(file), text);
  });
}

void fathom_tokenizer_destroy(fathom_tokenizer *tokenizer) { delete tokenizer; }

fathom_status fathom_tokenizer_encode(fathom_tokenizer *tokenizer,
                                      const char *text, size_t size,
                                      int32_t added, const int32_t **ids,
                                      size_t *count) {
  return guarded([&]() -> Status {
    if (!tokenizer || (!text && size) || !ids || !count)
      return missing("an argument");
    tokenizer->ids.clear();
    if (Status s = tokenizer->tokenizer.encode(std::string_view(text, size),
                                               added != 0, tokenizer->scratch,
                                               tokenizer->ids);
        s.failed())
      return s;
    *ids = tokenizer->ids.data();
    *count = tokenizer->ids.size();
    return Status();
  });
}

const char *fathom_version(void) { return fathom::format::kVersion; }
