/* sparsenet-run: runs and times a .snet file. Stands on sparsenet.h alone, so it goes wherever the C library does. */
#define _GNU_SOURCE /* sched_setaffinity */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <sched.h>
#include <sparsenet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { kMaxFiles = 64 };

static const char* const kUsage =
    "usage: sparsenet-run MODEL.snet [options]\n"
    "\n"
    "Runs the network and prints how long a run takes.\n"
    "\n"
    "  --threads N        threads of a run (1)\n"
    "  --batch N          samples in a run (1)\n"
    "  --isa NAME         avx512, avx2, neon or scalar (the best available)\n"
    "  --repeat N         timed runs (50)\n"
    "  --warmup N         runs before them (5)\n"
    "  --tune SECONDS     time to choose kernels by measuring; 0: by a cost model (1)\n"
    "  --affinity CPU     run on this CPU only, and with N threads on the N that begin there\n"
    "  --input FILE       raw float32 in row-major order for the next input, batch * size numbers; random without it\n"
    "  --output FILE      write the next output, raw float32\n"
    "  --seed N           of the random inputs, uniform in [-1, 1) (0)\n"
    "  --json             print JSON\n"
    "  --version, --help\n"
    "\n"
    "Exit code: 0 done, 1 failed, 2 wrong usage.\n";

struct arguments {
  const char *model, *isa;
  const char *input[kMaxFiles], *output[kMaxFiles];
  int inputs, outputs, threads, json, affinity;
  int64_t batch, repeat, warmup;
  uint64_t seed;
  double tune_seconds;
};

static void die(int code, const char* format, ...) {
  va_list list;
  fputs("sparsenet-run: ", stderr);
  va_start(list, format);
  vfprintf(stderr, format, list);
  va_end(list);
  fputc('\n', stderr);
  exit(code);
}

static void* allocate(size_t count, size_t size) {
  void* p = calloc(count ? count : 1, size);
  if (!p) die(1, "out of memory");
  return p;
}

static int64_t integer(const char* option, const char* text, int64_t lo, int64_t hi) {
  char* end;
  long long value;
  errno = 0;
  value = strtoll(text, &end, 10);
  if (errno || end == text || *end || value < lo || value > hi) {
    die(2, "%s %s: expected a whole number from %lld to %lld", option, text, (long long)lo, (long long)hi);
  }
  return value;
}

static double seconds_of(const char* option, const char* text) {
  char* end;
  const double value = strtod(text, &end);
  if (end == text || *end || !(value >= 0 && value <= 86400)) die(2, "%s %s: expected 0 to 86400", option, text);
  return value;
}

static struct arguments parse(int argc, char** argv) {
  struct arguments a = {0};
  int i;
  a.threads = 1, a.batch = 1, a.repeat = 50, a.warmup = 5, a.tune_seconds = 1, a.affinity = -1;
  for (i = 1; i < argc; ++i) {
    const char *option = argv[i], *value;
    if (!strcmp(option, "--help") || !strcmp(option, "-h")) {
      fputs(kUsage, stdout);
      exit(0);
    }
    if (!strcmp(option, "--version")) {
      puts(sn_version());
      exit(0);
    }
    if (!strcmp(option, "--json")) {
      a.json = 1;
      continue;
    }
    if (option[0] != '-') {
      if (a.model) die(2, "expected one model, got '%s' and '%s'", a.model, option);
      a.model = option;
      continue;
    }
    if (++i == argc) die(2, "%s: unknown, or without its value; see --help", option);
    value = argv[i];
    if (!strcmp(option, "--threads")) {
      a.threads = (int)integer(option, value, 1, 1024);
    } else if (!strcmp(option, "--batch")) {
      a.batch = integer(option, value, 1, INT32_MAX);
    } else if (!strcmp(option, "--isa")) {
      a.isa = value;
    } else if (!strcmp(option, "--repeat")) {
      a.repeat = integer(option, value, 1, 100000000);
    } else if (!strcmp(option, "--warmup")) {
      a.warmup = integer(option, value, 0, 100000000);
    } else if (!strcmp(option, "--tune")) {
      a.tune_seconds = seconds_of(option, value);
    } else if (!strcmp(option, "--affinity")) {
      a.affinity = (int)integer(option, value, 0, CPU_SETSIZE - 1);
    } else if (!strcmp(option, "--seed")) {
      a.seed = (uint64_t)integer(option, value, 0, INT64_MAX);
    } else if (!strcmp(option, "--input") && a.inputs < kMaxFiles) {
      a.input[a.inputs++] = value;
    } else if (!strcmp(option, "--output") && a.outputs < kMaxFiles) {
      a.output[a.outputs++] = value;
    } else {
      die(2, "unknown option %s; see --help", option);
    }
  }
  if (!a.model) {
    fputs(kUsage, stderr);
    exit(2);
  }
  return a;
}

/* Before the engine starts its threads, which inherit it. */
static void pin(int first, int threads) {
  cpu_set_t set;
  int i;
  if (first < 0) return;
  CPU_ZERO(&set);
  for (i = first; i < first + threads && i < CPU_SETSIZE; ++i) CPU_SET(i, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) die(1, "--affinity %d: %s", first, strerror(errno));
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* SplitMix64 (Steele, Lea, Flood 2014): any seed will do, 0 too. */
static void fill_random(float* x, size_t n, uint64_t* state) {
  size_t i;
  for (i = 0; i < n; ++i) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    x[i] = (float)(int32_t)(z >> 40) * 0x1p-23f - 1.0f;
  }
}

static void read_floats(const char* path, float* x, size_t n) {
  FILE* file = fopen(path, "rb");
  size_t got;
  if (!file) die(1, "%s: %s", path, strerror(errno));
  got = fread(x, sizeof *x, n, file);
  if (ferror(file)) die(1, "%s: %s", path, strerror(errno));
  if (got != n || fgetc(file) != EOF) die(1, "%s: expected exactly %zu float32 (%zu bytes)", path, n, n * sizeof *x);
  fclose(file);
}

static void write_floats(const char* path, const float* x, size_t n) {
  const size_t length = strlen(path) + sizeof ".tmp";
  char* temporary = allocate(length, 1);
  FILE* file;
  int ok;
  snprintf(temporary, length, "%s.tmp", path);
  file = fopen(temporary, "wb");
  if (!file) die(1, "%s: %s", temporary, strerror(errno));
  ok = fwrite(x, sizeof *x, n, file) == n;
  ok = fclose(file) == 0 && ok;
  if (!ok || rename(temporary, path) != 0) {
    const int error = errno;
    remove(temporary);
    die(1, "%s: %s", path, strerror(error));
  }
  free(temporary);
}

static int ascending(const void* a, const void* b) {
  const double x = *(const double*)a, y = *(const double*)b;
  return (x > y) - (x < y);
}

/* Nearest rank, in milliseconds. */
static double percentile(const double* sorted, int64_t n, double p) {
  int64_t rank = (int64_t)ceil(p / 100 * (double)n);
  if (rank < 1) rank = 1;
  return 1e3 * sorted[rank - 1];
}

static void print_string(const char* text) {
  putchar('"');
  for (; *text; ++text) {
    const unsigned char c = (unsigned char)*text;
    if (c == '"' || c == '\\') putchar('\\');
    if (c < 0x20) {
      printf("\\u%04x", c);
    } else {
      putchar(c);
    }
  }
  putchar('"');
}

static void print_tensor(const char* name, int rank, const int64_t* dims, int json) {
  int i;
  if (json) {
    printf("{\"name\": ");
    print_string(name);
    printf(", \"dims\": [");
  } else {
    printf(" %s[", name);
  }
  for (i = 0; i < rank; ++i) {
    if (i) printf(", ");
    if (dims[i] < 0 && !json) {
      putchar('N');
    } else {
      printf("%lld", (long long)dims[i]);
    }
  }
  printf(json ? "]}" : "]");
}

static void print_tensors(const sn_engine* engine, int output, int json) {
  const int count = output ? sn_output_count(engine) : sn_input_count(engine);
  int i;
  for (i = 0; i < count; ++i) {
    if (i && json) printf(", ");
    if (output) {
      print_tensor(sn_output_name(engine, i), sn_output_rank(engine, i), sn_output_dims(engine, i), json);
    } else {
      print_tensor(sn_input_name(engine, i), sn_input_rank(engine, i), sn_input_dims(engine, i), json);
    }
  }
}

static void report(const struct arguments* a, const sn_engine* engine, double load, const double* sorted) {
  const double median = percentile(sorted, a->repeat, 50), p10 = percentile(sorted, a->repeat, 10),
               p99 = percentile(sorted, a->repeat, 99);
  if (a->json) {
    printf("{\"model\": ");
    print_string(a->model);
    printf(", \"inputs\": [");
    print_tensors(engine, 0, 1);
    printf("], \"outputs\": [");
    print_tensors(engine, 1, 1);
    printf("],\n \"version\": \"%s\", \"isa\": \"%s\", \"threads\": %d, \"batch\": %lld, \"affinity\": ", sn_version(),
           sn_isa(engine), a->threads, (long long)a->batch);
    if (a->affinity < 0) {
      printf("null");
    } else {
      printf("%d", a->affinity);
    }
    printf(",\n \"load_ms\": %.3f, \"warmup\": %lld, \"repeat\": %lld, ", 1e3 * load, (long long)a->warmup,
           (long long)a->repeat);
    printf("\"median_ms\": %.6f, \"p10_ms\": %.6f, \"p99_ms\": %.6f}\n", median, p10, p99);
    return;
  }
  printf("%s:", a->model);
  print_tensors(engine, 0, 0);
  printf(" ->");
  print_tensors(engine, 1, 0);
  printf("\nsparsenet %s, %s, %d thread%s, batch %lld; loaded and compiled in %.0f ms\n", sn_version(), sn_isa(engine),
         a->threads, a->threads == 1 ? "" : "s", (long long)a->batch, 1e3 * load);
  printf("median %.3f ms, p10 %.3f ms, p99 %.3f ms over %lld runs; %.1f samples/s\n", median, p10, p99,
         (long long)a->repeat, 1e3 * (double)a->batch / median);
}

int main(int argc, char** argv) {
  const struct arguments a = parse(argc, argv);
  sn_options options = SN_OPTIONS_INIT;
  sn_engine* engine;
  float **in, **out;
  double *times, load;
  uint64_t state = a.seed;
  int64_t run;
  int i, inputs, outputs;

  pin(a.affinity, a.threads);
  options.threads = a.threads;
  options.isa = a.isa;
  options.max_batch = a.batch;
  options.tune = a.tune_seconds > 0;
  options.tune_seconds = a.tune_seconds;
  load = now();
  if (sn_load_path(a.model, &options, &engine) != SN_OK) die(1, "%s", sn_last_error());
  load = now() - load;

  inputs = sn_input_count(engine);
  outputs = sn_output_count(engine);
  if (a.inputs > inputs) die(2, "%d --input files for a network with %d input(s)", a.inputs, inputs);
  if (a.outputs > outputs) die(2, "%d --output files for a network with %d output(s)", a.outputs, outputs);
  in = allocate((size_t)inputs, sizeof *in);
  out = allocate((size_t)outputs, sizeof *out);
  for (i = 0; i < inputs; ++i) {
    const size_t n = (size_t)(a.batch * sn_input_size(engine, i));
    in[i] = allocate(n, sizeof(float));
    if (i < a.inputs) {
      read_floats(a.input[i], in[i], n);
    } else {
      fill_random(in[i], n, &state);
    }
  }
  for (i = 0; i < outputs; ++i) out[i] = allocate((size_t)(a.batch * sn_output_size(engine, i)), sizeof(float));

  times = allocate((size_t)a.repeat, sizeof *times);
  for (run = -a.warmup; run < a.repeat; ++run) {
    const double start = now();
    if (sn_run(engine, a.batch, (const float* const*)in, out) != SN_OK) die(1, "%s", sn_last_error());
    if (run >= 0) times[run] = now() - start;
  }
  for (i = 0; i < a.outputs; ++i) write_floats(a.output[i], out[i], (size_t)(a.batch * sn_output_size(engine, i)));
  qsort(times, (size_t)a.repeat, sizeof *times, ascending);
  report(&a, engine, load, times);

  for (i = 0; i < inputs; ++i) free(in[i]);
  for (i = 0; i < outputs; ++i) free(out[i]);
  free(in);
  free(out);
  free(times);
  sn_free(engine);
  if (fflush(stdout) != 0) die(1, "standard output: %s", strerror(errno));
  return 0;
}
