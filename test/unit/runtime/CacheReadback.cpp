// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// cache-readback PACKAGE: fills the caches of one sequence up to the last
// token of the context, reads every byte back, decodes the last token, and
// reads again: what a step may write has changed, everything else has not.
#include "runtime/format/ManifestJson.h"
#include "runtime/include/fathom.h"
#include "runtime/src/Files.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

using namespace fathom;

namespace {

[[noreturn]] void fail(const std::string &why) {
  std::fprintf(stderr, "cache-readback: %s\n", why.c_str());
  std::exit(1);
}

void need(const fathom_status &status) {
  if (status.code != FATHOM_OK)
    fail(status.message);
}

/// What fathom_session_fill_synthetic writes at byte `i` of a component.
uint8_t expected(const std::string &component, const std::string &format,
                 uint64_t i) {
  if (component == "scales")
    return 120;
  if (component == "codes")
    return uint8_t((format == "fp8" ? 0x20 : 0x13) + i * 7 % 24 +
                   (i % 3 ? 0 : 0x80));
  uint8_t bytes[4];
  if (component == "rope") {
    const uint64_t at = i & ~uint64_t(1);
    const uint16_t value =
        uint16_t(0x3d00 + at * 5 % 128 + (at % 6 ? 0 : 0x8000));
    std::memcpy(bytes, &value, 2);
    return bytes[i - at];
  }
  const uint64_t at = i & ~uint64_t(3);
  const float value = (at % 12 ? 0.01f : -0.02f) * float(1 + at / 4 % 7);
  std::memcpy(bytes, &value, 4);
  return bytes[i - at];
}

/// Rows that a step of the token at `position` may write.
struct Rows {
  uint64_t first = 0, count = 0;
};

Rows written(const format::Cache &cache, int64_t position, int64_t context) {
  if (cache.kind == "window")
    return {uint64_t(position) % cache.rows, 1};
  if (cache.kind == "state")
    return {uint64_t(position) % cache.rows, 1};
  // A row each `ratio` tokens, when the last of them comes.
  const int64_t ratio = context / int64_t(cache.rows);
  if ((position + 1) % ratio)
    return {};
  return {uint64_t(position / ratio), 1};
}

/// Compares all bytes of all caches; returns how many there are.
uint64_t compare(fathom_session *session, const format::Manifest &m,
                 int64_t filled, bool afterStep) {
  uint64_t total = 0;
  std::vector<uint8_t> piece(1 << 20);
  for (const format::Cache &cache : m.caches) {
    Rows rows;
    if (afterStep)
      rows = written(cache, filled, m.limits.maxContext);
    for (const format::CacheComponent &c : cache.components) {
      const uint64_t bytes = cache.rows * c.rowBytes;
      // The last block is not complete before the last token.
      for (uint64_t at = 0; at < bytes; at += piece.size()) {
        const uint64_t size = std::min<uint64_t>(piece.size(), bytes - at);
        need(fathom_session_read_cache(session, cache.name.c_str(),
                                       c.name.c_str(), 0, at, size,
                                       piece.data()));
        for (uint64_t i = 0; i < size; ++i) {
          const uint64_t row = (at + i) / c.rowBytes;
          if (row >= rows.first && row < rows.first + rows.count)
            continue;
          if (piece[i] != expected(c.name, cache.format, at + i))
            fail(cache.name + "." + c.name + ", row " + std::to_string(row) +
                 (afterStep ? ": changed by a step" : ": read back wrong"));
        }
      }
      total += bytes;
    }
  }
  return total;
}

} // namespace

int main(int argc, char **argv) {
  if (argc != 2)
    fail("usage: cache-readback PACKAGE");
  format::Manifest manifest;
  std::string text;
  if (rt::Status s = rt::readFile(rt::joinPath(argv[1], "manifest.json"),
                                  format::detail::kMaxText, text);
      s.failed())
    fail(s.message());
  if (std::string error = format::parseManifest(text, manifest);
      !error.empty())
    fail(error);

  fathom_engine_options options = {};
  options.threads = 2;
  fathom_engine *engine = nullptr;
  need(fathom_engine_create(argv[1], &options, &engine));
  fathom_session_options wanted = {};
  wanted.max_sequences = 1;
  wanted.max_logit_rows = 1;
  fathom_session *session = nullptr;
  need(fathom_session_create(engine, &wanted, &session));
  int32_t slot = -1;
  need(fathom_session_add(session, &slot));
  const int64_t last = manifest.limits.maxContext - 1;
  need(fathom_session_fill_synthetic(session, slot, last));
  const uint64_t bytes = compare(session, manifest, last, false);

  const int32_t id = 1;
  const fathom_tokens tokens = {slot, &id, 1, 1};
  const float *logits = nullptr;
  need(fathom_step(session, &tokens, 1, nullptr, &logits));
  for (int64_t i = 0; i < manifest.model.vocabularySize; ++i)
    if (!std::isfinite(logits[i]))
      fail("logit " + std::to_string(i) + " is not finite");
  if (fathom_session_length(session, slot) != manifest.limits.maxContext)
    fail("the sequence has not grown");
  compare(session, manifest, last, true);
  // There is no room for another one.
  if (fathom_step(session, &tokens, 1, nullptr, &logits).code !=
      FATHOM_RESOURCES)
    fail("a token beyond the context was taken");
  std::printf("%llu\n", static_cast<unsigned long long>(bytes));
  fathom_session_destroy(session);
  fathom_engine_destroy(engine);
  return 0;
}
