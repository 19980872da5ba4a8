/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * Fathom's runtime: executes a compiled package (NAME.fathom). C ABI, no
 * compiler in it.
 *
 * An ENGINE is a loaded package with its weights: immutable, may be shared by
 * threads. A SESSION is a set of sequences with their caches: one thread at a
 * time. Sessions of one engine, each in a thread of its own, share its worker
 * threads and its device; whatever they ask of these takes turns. An engine
 * outlives its sessions (they hold a reference).
 *
 * A handle, or a place for an answer, that is NULL where that is not said to be
 * allowed: functions with a status refuse it with FATHOM_USAGE; the others do
 * nothing, and give -1 as a length, 0 as a size or count, NULL as an address,
 * and information of zeros.
 *
 * All memory is sized and mapped when a session is created; stepping allocates
 * nothing. Sizes are bytes, positions count from 0.
 *
 * The bitwise promise: the logits of a token depend on its sequence alone, not
 * on what else is in the batch, how the tokens were divided into steps, nor on
 * the number of threads.
 */
#ifndef FATHOM_H
#define FATHOM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define FATHOM_CHECK __attribute__((warn_unused_result))
#else
#define FATHOM_CHECK
#endif

/* What went wrong; also the exit codes of the tools. */
enum fathom_code {
  FATHOM_OK = 0,
  FATHOM_FAILED = 1,      /* the system refused something */
  FATHOM_USAGE = 2,       /* an argument makes no sense */
  FATHOM_UNSUPPORTED = 3, /* this machine or package cannot do it */
  FATHOM_RESOURCES = 4,   /* memory, disk, context or slots ran out */
  FATHOM_BAD_FILE = 5     /* damaged, altered, or of another version */
};

/* By value: nothing to free. `message` says what, where, why and what to do;
 * it is empty when code is FATHOM_OK. */
typedef struct fathom_status {
  int32_t code;
  char message[1020];
} fathom_status;

typedef struct fathom_engine fathom_engine;
typedef struct fathom_session fathom_session;
typedef struct fathom_detokenizer fathom_detokenizer;
typedef struct fathom_tokenizer fathom_tokenizer;

/* ---- Engine ------------------------------------------------------------- */

/* Zero-initialise, then set what differs from the default. */
typedef struct fathom_engine_options {
  const char *checkpoint; /* directory of the weights; NULL: as the package
                             says */
  int32_t threads;        /* including the caller; 0: as many as there are CPUs
                             for this process */
  int32_t prefault;       /* 1: read all weights into memory now */
  const char *isa;        /* NULL: the best level that CPU and package have */
  const char *pin;        /* NULL or "auto": a CPU for each worker thread;
                             "none"; or CPUs such as "0-3,8" for all threads,
                             the first one for the thread that calls, which
                             may go elsewhere again when it has destroyed
                             the engine (where another thread does, it stays) */
  const char *numa;       /* NULL or "local": memory lies near the thread that
                             touches it first; "interleave": spread over all
                             nodes, weights included where they are not in the
                             page cache yet */
  uint64_t memory_bytes;  /* a session is refused where it and the weights
                             need more; 0: what the machine has */
  int32_t huge_pages;     /* 1: ask for huge pages for caches and workspace */
  const char *driver;     /* what executes: "host", "cuda", "ascend", or
                             "emulated", which treats the CPU as if it were a
                             device with memory of its own and checks every
                             access; NULL: as the package was compiled */
  int32_t device;         /* which of several */
  int32_t ranks, rank;    /* reserved for a model over several devices, each of
                             which is a rank of its own; 0 or 1, and 0: one
                             device has all of it. More are refused with
                             FATHOM_UNSUPPORTED */
  /* Told of the bytes of weights that a device has received so far. */
  void (*progress)(void *context, uint64_t done, uint64_t total);
  void *progress_context;
} fathom_engine_options;

/* Loads a package directory, checks its hashes and those of the checkpoint's
 * headers, maps the weights, starts the threads. `options` may be NULL. On
 * failure *engine is NULL. */
FATHOM_CHECK fathom_status
fathom_engine_create(const char *package, const fathom_engine_options *options,
                     fathom_engine **engine);
/* NULL is allowed. Memory goes when the last session has gone as well. */
void fathom_engine_destroy(fathom_engine *engine);

/* Strings belong to the engine. */
typedef struct fathom_model_info {
  const char *architecture;
  const char *numerics; /* published | bf16 | f32 */
  const char *isa;      /* of the loaded kernels, e.g. x86-64-v3 or sm_90 */
  const char *driver;   /* host, cuda, ascend, emulated */
  const char *device;   /* which one, in its driver's words */
  const char *producer;
  int64_t vocabulary_size, hidden_size, layers, mtp_layers;
  int64_t max_context, max_sequences, max_step_tokens; /* compiled limits */
  int64_t bos_token;                                   /* -1: none */
  const int64_t *eos_tokens;
  size_t eos_token_count;
  uint64_t weight_bytes; /* mapped checkpoint files */
  int32_t threads;
  int32_t has_tokenizer;
} fathom_model_info;
void fathom_engine_info(const fathom_engine *engine, fathom_model_info *info);

/* Bytes per second at which the engine's threads read its mapped weights, or
 * at which a device reads and writes its own memory, measured for about
 * `seconds`. */
FATHOM_CHECK fathom_status fathom_engine_read_bandwidth(
    fathom_engine *engine, double seconds, double *bytes_per_second);

/* ---- Session ------------------------------------------------------------ */

typedef struct fathom_session_options {
  int64_t max_sequences;  /* slots; 0: the compiled limit */
  int64_t max_context;    /* tokens of a sequence; 0: the compiled limit */
  int64_t max_logit_rows; /* rows of one call into the session's own buffer;
                             0: the larger of max_sequences and
                             max_step_tokens */
  int64_t kept_tokens;    /* tokens of a call whose final streams are kept for
                             fathom_mtp; 0: max_step_tokens, as is whatever
                             is below it: the streams of a step need room */
} fathom_session_options;

/* Memory that a session takes where the driver computes. On the CPU it is
 * address space: caches and logits become resident as they are touched, a page
 * at a time. */
typedef struct fathom_session_memory {
  uint64_t weight_bytes;             /* read by the kernels: mapped, or in the
                                        device's memory with the tables of
                                        their addresses */
  uint64_t cache_bytes_per_sequence; /* at max_context as compiled */
  uint64_t cache_bytes;              /* all slots */
  uint64_t workspace_bytes, logits_bytes, streams_bytes;
  uint64_t staging_bytes; /* what a step is handed: ids, positions, ... */
  uint64_t scratch_bytes; /* of the engine's threads */
  uint64_t total_bytes;   /* without the weights */
  uint64_t peak_bytes;    /* with them */
} fathom_session_memory;

/* What a session with these options (may be NULL) would take. */
FATHOM_CHECK fathom_status fathom_session_memory_for(
    const fathom_engine *engine, const fathom_session_options *options,
    fathom_session_memory *memory);

FATHOM_CHECK fathom_status fathom_session_create(
    fathom_engine *engine, const fathom_session_options *options,
    fathom_session **session);
void fathom_session_destroy(fathom_session *session);
/* What a session has allocated, the scratch memory of the engine's threads
 * included: equals total_bytes above. */
uint64_t fathom_session_allocated_bytes(const fathom_session *session);

/* Takes a free slot for a new, empty sequence. */
FATHOM_CHECK fathom_status fathom_session_add(fathom_session *session,
                                              int32_t *slot);
/* Ends a sequence; its slot is free again. */
FATHOM_CHECK fathom_status fathom_session_remove(fathom_session *session,
                                                 int32_t slot);
/* Tokens that a sequence holds; -1 for a slot that holds none. */
int64_t fathom_session_length(const fathom_session *session, int32_t slot);
/* Tokens that MTP layer `layer` has seen of it; -1 likewise. */
int64_t fathom_session_mtp_length(const fathom_session *session, int32_t layer,
                                  int32_t slot);
/* For benchmarks: fills the caches of an empty sequence with a valid pattern
 * that means nothing, and sets its length. */
FATHOM_CHECK fathom_status fathom_session_fill_synthetic(
    fathom_session *session, int32_t slot, int64_t length);

/* For tools and tests: copies `size` bytes of a component ("codes", ...) of a
 * cache ("layers.3.window", as fathom inspect and the manifest name it), from
 * byte `offset` of the slot's part on. */
FATHOM_CHECK fathom_status fathom_session_read_cache(
    const fathom_session *session, const char *cache, const char *component,
    int32_t slot, uint64_t offset, uint64_t size, void *out);

/* Tokens for one sequence. */
typedef struct fathom_tokens {
  int32_t slot;
  const int32_t *ids; /* not needed after the call */
  int64_t count;
  int64_t logits; /* for how many of these tokens, counted from the last,
                     logits are wanted: 0 .. count */
} fathom_tokens;

/* Feeds every sequence its next tokens, all of them as one ragged batch, each
 * slot at most once. More tokens than max_step_tokens, or than the device can
 * be given at once, are run as several steps.
 *
 * Logits are f32 rows of vocabulary_size, in the order of the sequences given
 * and then of positions. They go to `logits`, or, when that is NULL, to the
 * session's buffer. *rows (may be NULL) is set to the first row; it stays valid
 * until the session's next call. Everything is checked before anything runs: a
 * refused call changes nothing. Where the device fails in the middle of a call
 * (this one, or another that changes sequences), the sequences of that call are
 * of no use: every further call with them is refused with FATHOM_USAGE until
 * they are removed. */
FATHOM_CHECK fathom_status fathom_step(fathom_session *session,
                                       const fathom_tokens *sequences,
                                       size_t sequence_count, float *logits,
                                       const float **rows);

/* Goes on with each of `count` sequences by itself: feeds ids[i] to slots[i],
 * then the token whose logit is the largest (of equal ones the lowest id), and
 * so on for `steps` steps. chosen[i * steps + k] is the token that step k led
 * to; the last one has not been fed. More sequences than one step takes go in
 * groups, one group after the other. The device is asked for nothing in
 * between, so ends of sequences are the caller's to find: call for a few steps
 * at a time. A session records the schedule for each number of sequences when
 * it first occurs; from then on such steps, and fathom_step calls of one token
 * a sequence, allocate nothing and launch one thing. */
FATHOM_CHECK fathom_status fathom_generate(fathom_session *session,
                                           const int32_t *slots,
                                           const int32_t *ids, size_t count,
                                           int64_t steps, int32_t *chosen);

/* The streams after a layer for the tokens of the last fathom_step call, of at
 * most kept_tokens tokens, in their order: rows of `row_bytes` bytes, BF16 or
 * F32. NULL unless the package was compiled for it (fathomc compile
 * --layer-outputs), or where they cannot be had from a device. */
const void *fathom_session_layer_streams(const fathom_session *session,
                                         int32_t layer, uint64_t *row_bytes,
                                         int32_t *is_f32);

/* Multi-token prediction: feeds MTP layer `layer` its next positions of each
 * sequence, from fathom_session_mtp_length on. ids[i] is the token one after
 * position i; logits of position t predict token t+2. Layer 0 reads the final
 * streams that the last fathom_step call kept, layer j those of the last call
 * for layer j-1, which must cover these positions. */
FATHOM_CHECK fathom_status fathom_mtp(fathom_session *session, int32_t layer,
                                      const fathom_tokens *sequences,
                                      size_t sequence_count, float *logits,
                                      const float **rows);

/* ---- Measuring ---------------------------------------------------------- */

/* From now on each launch is timed (1) or not (0); starting clears. */
void fathom_session_profile(fathom_session *session, int32_t enable);

typedef struct fathom_kernel_time {
  const char *entry, *kernel; /* belong to the engine */
  int64_t max_tokens;         /* of the specialisation */
  uint64_t launches, programs, nanoseconds;
  uint64_t weight_bytes; /* as fathom_engine_step_weight_bytes counts them */
} fathom_kernel_time;
/* Copies up to `capacity` records, returns how many there are. `records` may be
 * NULL, to ask only that. */
size_t fathom_session_kernel_times(const fathom_session *session,
                                   fathom_kernel_time *records,
                                   size_t capacity);
/* Weight bytes that a step of `tokens` tokens of as many sequences reads,
 * counting an expert as often as it is expected to be chosen by someone. */
uint64_t fathom_engine_step_weight_bytes(const fathom_engine *engine,
                                         int64_t tokens);

/* ---- Text --------------------------------------------------------------- */

/* A streaming decoder of the package's tokenizer.json. FATHOM_UNSUPPORTED when
 * the package has none or one of another kind. One thread at a time. */
FATHOM_CHECK fathom_status fathom_detokenizer_create(
    const fathom_engine *engine, fathom_detokenizer **detokenizer);
void fathom_detokenizer_destroy(fathom_detokenizer *detokenizer);
/* Adds a token and returns the text that is complete now: UTF-8, never part of
 * a character. It belongs to the detokenizer until its next call. Ids that
 * neither the model nor the tokenizer has are refused with FATHOM_USAGE. With
 * flush, an incomplete character at the end is returned as U+FFFD. */
FATHOM_CHECK fathom_status
fathom_detokenizer_add(fathom_detokenizer *detokenizer, int32_t id,
                       const char **text, size_t *size);
FATHOM_CHECK fathom_status fathom_detokenizer_flush(
    fathom_detokenizer *detokenizer, const char **text, size_t *size);

/* Turns text into token ids: by the tokenizer.json of a package, or by a file.
 * One thread at a time. */
FATHOM_CHECK fathom_status fathom_tokenizer_create(
    const fathom_engine *engine, fathom_tokenizer **tokenizer);
FATHOM_CHECK fathom_status fathom_tokenizer_open(const char *file,
                                                 fathom_tokenizer **tokenizer);
void fathom_tokenizer_destroy(fathom_tokenizer *tokenizer);
/* What is not UTF-8 counts as U+FFFD. With added != 0, spellings of added
 * tokens ("<｜User｜>") become these tokens; otherwise they are ordinary text,
 * which is right for text that others wrote. The ids belong to the tokenizer
 * until its next call. */
FATHOM_CHECK fathom_status fathom_tokenizer_encode(
    fathom_tokenizer *tokenizer, const char *text, size_t size, int32_t added,
    const int32_t **ids, size_t *count);

/* "0.1.0" */
const char *fathom_version(void);

#ifdef __cplusplus
}
#endif

#endif /* FATHOM_H */
