// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Patterns that no scanner knows, by PCRE2 under limits. Its classes are those
// of the Unicode version that the library was built with.
#include "runtime/text/Splitter.h"

#ifdef FATHOM_HAVE_PCRE2
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#endif

namespace fathom::rt {

#ifdef FATHOM_HAVE_PCRE2

namespace {

constexpr size_t kMaxPattern = 1 << 16;
/// Backtracking steps of one match, and kibibytes of memory.
constexpr uint32_t kMatchLimit = 1000000, kHeapLimit = 64 << 10;

struct Deleter {
  void operator()(pcre2_code *p) const { pcre2_code_free(p); }
  void operator()(pcre2_match_data *p) const { pcre2_match_data_free(p); }
  void operator()(pcre2_match_context *p) const { pcre2_match_context_free(p); }
};
template <typename T> using Owned = std::unique_ptr<T, Deleter>;

std::string messageOf(int code) {
  unsigned char text[256] = {};
  pcre2_get_error_message(code, text, sizeof(text));
  return reinterpret_cast<const char *>(text);
}

class Pcre : public Splitter {
public:
  Status compile(const std::string &pattern) {
    if (pattern.size() > kMaxPattern)
      return Status(FATHOM_BAD_FILE, "a regular expression of " +
                                         std::to_string(pattern.size()) +
                                         " bytes is too long");
    int error = 0;
    PCRE2_SIZE where = 0;
    code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()),
                             pattern.size(),
                             PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C,
                             &error, &where, nullptr));
    if (!code)
      return Status(FATHOM_BAD_FILE, "regular expression, at " +
                                         std::to_string(where) + ": " +
                                         messageOf(error));
    // Without a JIT on this machine the interpreter does it.
    (void)pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);
    return Status();
  }

  bool find(std::string_view text, size_t at, Match &match,
            Status &error) const override {
    // One thread may use several tokenizers, one tokenizer several threads.
    thread_local Owned<pcre2_match_data> data(
        pcre2_match_data_create(1, nullptr));
    thread_local Owned<pcre2_match_context> context = [] {
      Owned<pcre2_match_context> made(pcre2_match_context_create(nullptr));
      if (made) {
        pcre2_set_match_limit(made.get(), kMatchLimit);
        pcre2_set_heap_limit(made.get(), kHeapLimit);
      }
      return made;
    }();
    if (!data || !context) {
      error = Status(FATHOM_RESOURCES, "out of memory");
      return false;
    }
    const int found = pcre2_match(
        code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at,
        PCRE2_NOTEMPTY | PCRE2_NO_UTF_CHECK, data.get(), context.get());
    if (found == PCRE2_ERROR_NOMATCH)
      return false;
    if (found < 0) {
      error = Status(FATHOM_RESOURCES,
                     "the tokenizer's regular expression cannot split this "
                     "text: " +
                         messageOf(found));
      return false;
    }
    const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(data.get());
    match = {ends[0], ends[1]};
    if (match.begin < at || match.end <= match.begin) { // \K, look-behind
      error = Status(FATHOM_UNSUPPORTED, "the tokenizer's regular expression "
                                         "moves the start of a match");
      return false;
    }
    return true;
  }

private:
  Owned<pcre2_code> code;
};

} // namespace

Status Splitter::createByPcre(const std::string &pattern,
                              std::unique_ptr<Splitter> &out) {
  auto made = std::make_unique<Pcre>();
  if (Status s = made->compile(pattern); s.failed())
    return s;
  out = std::move(made);
  return Status();
}

#else

Status Splitter::createByPcre(const std::string &pattern,
                              std::unique_ptr<Splitter> &) {
  return Status(FATHOM_UNSUPPORTED, "no scanner for the regular expression '" +
                                        pattern.substr(0, 200) +
                                        "', and this build has no PCRE2");
}

#endif

} // namespace fathom::rt
