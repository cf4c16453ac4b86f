/* sparsenet: runs pruned neural networks on CPUs as fast as their zeros allow. This header is the whole C API and its
 * manual.
 *
 * From a file to a result:
 *
 *     #include <sparsenet.h>
 *
 *     sn_engine* engine;
 *     if (sn_load_path("model.snet", NULL, &engine) != SN_OK) {              // 1: read, check, compile
 *       fprintf(stderr, "%s\n", sn_last_error());                            // 2
 *       return 1;
 *     }
 *     float* x = malloc(sizeof(float) * sn_input_size(engine, 0));           // 3: floats per sample
 *     float* y = malloc(sizeof(float) * sn_output_size(engine, 0));          // 4
 *     ... fill x ...
 *     const float* in[] = {x};
 *     float* out[] = {y};
 *     if (sn_run(engine, 1, in, out) != SN_OK) ...                           // 5: a batch of 1
 *     sn_free(engine);                                                       // 6
 *
 * Link with -lsparsenet (shared), or with libsparsenet.a, libstdc++ and pthread.
 *
 * Buffers. Inputs and outputs are the caller's: float32, row-major, contiguous, axis 0 the batch. They need no
 * alignment (64 bytes is best) and must not overlap. The engine keeps no pointer to them.
 *
 * Memory. sn_run allocates nothing once a batch as large has run or was reserved (sn_options.max_batch, sn_reserve).
 *
 * Threads. One engine may be used by several threads at once. Its workers sleep between runs. A host with a thread
 * pool of its own lends it through sn_options.parallel_for; then the engine starts no thread.
 *
 * Errors. No call throws, exits or prints. Functions that can fail return an sn_status, or 0 or NULL where they
 * return a value; sn_last_error then says what was expected and what came. A network's file is checked completely
 * before first use: bytes from a stranger can make sn_load_* fail, not misbehave. How much memory a file may ask for
 * is up to the caller: see the limits in sn_options.
 */
#ifndef SPARSENET_H
#define SPARSENET_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define SN_API
#else
#define SN_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sn_engine sn_engine;

typedef enum sn_status {
  SN_OK = 0,
  SN_INVALID_ARGUMENT = 1, /* a null pointer, an unknown option, a batch the network does not take */
  SN_GRAPH = 2,            /* the network breaks a rule of the format's graph */
  SN_SHAPE = 3,            /* shapes in the network do not fit together */
  SN_UNSUPPORTED_OP = 4,   /* the network has an op that this version does not know */
  SN_FILE_FORMAT = 5,      /* not a .snet file, damaged, of another version, or beyond the limits */
  SN_IO = 6,               /* the operating system refused */
  SN_OUT_OF_MEMORY = 7,
  SN_INTERNAL = 8 /* a defect of sparsenet */
} sn_status;

/* Must call task(arg, i) once for every i in [0, n), on any threads and in any order, and return when all have. */
typedef void (*sn_parallel_for_fn)(void* user, int n, void (*task)(void* arg, int i), void* arg);

/* How to load and compile. Begin with SN_OPTIONS_INIT and change what you need:
 *
 *     sn_options options = SN_OPTIONS_INIT;
 *     options.threads = 4;
 *
 * A NULL sn_options means SN_OPTIONS_INIT. New members will come at the end; `size` tells the library which ones the
 * caller knows, so a program runs with any later libsparsenet. */
typedef struct sn_options {
  size_t size;         /* sizeof(sn_options) */
  int threads;         /* threads of one sn_run, the calling one included; 1 or more */
  int tune;            /* not 0: time candidate kernels for each layer; 0: choose by a cost model, at once */
  double tune_seconds; /* at most this long, for the whole network */
  int64_t max_batch;   /* choose kernels for this batch size and reserve its memory now; others run too */
  const char* isa;     /* "avx512", "avx2", "neon", "scalar"; NULL: $SPARSENET_FORCE_ISA or the best available */
  sn_parallel_for_fn parallel_for; /* the host's thread pool; NULL: threads of the engine's own */
  void* parallel_for_user;         /* its first argument; must outlive the engine */
  uint64_t max_file_bytes;         /* limits on what a file may ask for; 0: the default, 4 GiB */
  int64_t max_elements;            /* of all weights together, and of any tensor per sample; 0: the default, 2^30 */
  int64_t max_nodes;               /* 0: the default, 20000 */
} sn_options;

#define SN_OPTIONS_INIT {sizeof(sn_options), 1, 1, 1.0, 1, NULL, NULL, NULL, 0, 0, 0}

/* Read a .snet file, or the bytes of one, and compile it for this machine. On success *engine is the caller's to
 * free; on failure it is NULL. Neither the file nor the bytes are needed once the call has returned. */
SN_API sn_status sn_load_path(const char* path, const sn_options* options, sn_engine** engine);
SN_API sn_status sn_load_memory(const void* bytes, size_t n, const sn_options* options, sn_engine** engine);
SN_API void sn_free(sn_engine* engine); /* NULL is fine; no run may be under way */

/* What the network takes and gives. Names, dims and the isa live as long as the engine. dims[0] is the batch: -1 if
 * any will do. size is the number of floats per sample: the product of the other dims. */
SN_API int sn_input_count(const sn_engine* engine);
SN_API const char* sn_input_name(const sn_engine* engine, int i); /* UTF-8 */
SN_API int sn_input_rank(const sn_engine* engine, int i);
SN_API const int64_t* sn_input_dims(const sn_engine* engine, int i);
SN_API int64_t sn_input_size(const sn_engine* engine, int i);
SN_API int sn_output_count(const sn_engine* engine);
SN_API const char* sn_output_name(const sn_engine* engine, int i);
SN_API int sn_output_rank(const sn_engine* engine, int i);
SN_API const int64_t* sn_output_dims(const sn_engine* engine, int i);
SN_API int64_t sn_output_size(const sn_engine* engine, int i);
SN_API const char* sn_isa(const sn_engine* engine); /* the instruction set compiled for: "avx2" */

/* out[j][0 .. batch * sn_output_size(engine, j)) = the network of in[i][0 .. batch * sn_input_size(engine, i)) */
SN_API sn_status sn_run(const sn_engine* engine, int64_t batch, const float* const* in, float* const* out);

/* Allocate now what sn_run of this batch will need, for one more concurrent caller than at present. */
SN_API sn_status sn_reserve(const sn_engine* engine, int64_t batch);

/* Why this thread's last failed call failed; "" if none has. Valid until the next call that fails. */
SN_API const char* sn_last_error(void);
SN_API const char* sn_status_name(sn_status status); /* "SN_IO" */
SN_API const char* sn_version(void);                 /* of the library: "0.1.0" */

#ifdef __cplusplus
}
#endif

#endif
