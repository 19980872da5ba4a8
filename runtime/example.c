/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * Continues a text with a compiled package, token by token: what a program of
 * one's own does with fathom.h.
 *
 *   cc example.c $(pkg-config --cflags --libs fathom) -o example
 *   ./example nano.fathom 'In the beginning' 16
 */
#include <fathom.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(fathom_status status) {
  if (status.code == FATHOM_OK)
    return;
  fprintf(stderr, "%s\n", status.message);
  exit(status.code);
}

int main(int argc, char **argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: %s PACKAGE TEXT TOKENS\n", argv[0]);
    return FATHOM_USAGE;
  }
  fathom_engine *engine;
  fathom_session *session;
  fathom_tokenizer *tokenizer;
  fathom_detokenizer *detokenizer;
  fathom_session_options options = {0};
  options.max_sequences = 1;
  check(fathom_engine_create(argv[1], NULL, &engine));
  check(fathom_session_create(engine, &options, &session));
  check(fathom_tokenizer_create(engine, &tokenizer));
  check(fathom_detokenizer_create(engine, &detokenizer));

  /* The prompt: all tokens but the last, of which no logits are wanted. */
  fathom_tokens prompt = {0};
  size_t count;
  check(fathom_tokenizer_encode(tokenizer, argv[2], strlen(argv[2]), 0,
                                &prompt.ids, &count));
  if (count == 0)
    return FATHOM_USAGE;
  int32_t token = prompt.ids[count - 1];
  prompt.count = (int64_t)count - 1;
  check(fathom_session_add(session, &prompt.slot));
  if (prompt.count > 0)
    check(fathom_step(session, &prompt, 1, NULL, NULL));

  /* Then the most likely token, again and again. */
  const char *text;
  size_t size;
  for (int left = atoi(argv[3]); left > 0; --left) {
    check(fathom_generate(session, &prompt.slot, &token, 1, 1, &token));
    check(fathom_detokenizer_add(detokenizer, token, &text, &size));
    fwrite(text, 1, size, stdout);
    fflush(stdout);
  }
  check(fathom_detokenizer_flush(detokenizer, &text, &size));
  fwrite(text, 1, size, stdout);

  fathom_detokenizer_destroy(detokenizer);
  fathom_tokenizer_destroy(tokenizer);
  fathom_session_destroy(session);
  fathom_engine_destroy(engine);
  return 0;
}
