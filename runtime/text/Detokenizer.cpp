// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/text/Detokenizer.h"

#include "runtime/text/Utf8.h"

namespace fathom::rt {

Status Detokenizer::load(std::string_view text) {
  nlohmann::json json;
  if (Status s = Vocabulary::parse(text, json); s.failed())
    return s;
  auto made = std::make_shared<Vocabulary>();
  if (Status s = made->read(json); s.failed())
    return s;
  vocabulary = std::move(made);
  return Status();
}

std::string_view Detokenizer::addBytes(std::string_view bytes) {
  pending += bytes;
  ready.clear();
  pending.erase(0, utf8::appendValid(ready, pending, /*all=*/false));
  return ready;
}

std::string_view Detokenizer::flush() {
  ready.clear();
  utf8::appendValid(ready, pending, /*all=*/true);
  pending.clear();
  return ready;
}

} // namespace fathom::rt
