// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Input: a tokenizer.json; after a NUL byte, the text to encode. What is
// encoded must decode to the same text.
#include "runtime/text/Detokenizer.h"
#include "runtime/text/Tokenizer.h"
#include "runtime/text/Utf8.h"
#include "test/fuzz/Accepted.h"

#include <cstdlib>

using namespace fathom::rt;

static void require(bool condition) {
  if (!condition)
    std::abort();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const std::string_view input(reinterpret_cast<const char *>(data), size);
  const size_t end = std::min(input.find('\0'), size);
  Tokenizer tokenizer;
  if (tokenizer.load(input.substr(0, end)).failed())
    return 0;
  const std::string_view text = input.substr(std::min(size, end + 1));
  std::string valid;
  utf8::appendValid(valid, text, /*all=*/true);
  Tokenizer::Scratch scratch;
  for (const bool added : {false, true}) {
    std::vector<int32_t> ids;
    if (tokenizer.encode(text, added, scratch, ids).failed())
      continue;
    fathom::fuzz::accepted = true;
    Detokenizer decoder(tokenizer.vocabulary());
    std::string back;
    for (const int32_t id : ids) {
      require(id >= 0 && id < tokenizer.vocabulary()->size());
      back += decoder.add(id);
    }
    back += decoder.flush();
    // Added tokens may strip blanks, and may take the id of another token.
    if (tokenizer.vocabulary()->added().empty())
      require(back == valid);
  }
  return 0;
}
