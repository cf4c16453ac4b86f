/* A plugin for qemu's user-mode emulators: counts how often each block ran, and what a two-level data cache missed.
 *
 * Licence: written for sparsenet, MIT like the rest of it, which the GPLv2 of qemu, into which it is loaded, is
 * compatible with. A tool for development; no part of the library.
 *
 *   cc -O2 -fPIC -shared -o plugin.so benchmarks/arm/plugin.c
 *   qemu-aarch64 -plugin ./plugin.so,out=blocks.txt,l1=32,w1=4,l2=128,w2=4 PROGRAM      (KB and ways)
 *
 * Prints "accesses N", "l1 N", "l2 N" (the misses), then for each block "count address instruction instruction ...",
 * in hexadecimal. Data only, least recently used goes, a store allocates; one thread: a second one would make the
 * counts wrong, so it is refused. No prefetcher: streams miss more often here than in silicon. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The part of qemu's plugin interface, version 1, that is used here, from its documentation: Debian ships no header. */
#define EXPORT __attribute__((visibility("default")))
typedef uint64_t plugin_id;
typedef uint32_t meminfo;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { kInlineAddU64 = 0, kNoRegisters = 0, kReadAndWrite = 3 };
void qemu_plugin_register_vcpu_init_cb(plugin_id, void (*)(plugin_id, unsigned vcpu));
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb*));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb*, int op, void* counter, uint64_t add);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn*, void (*)(unsigned, meminfo, uint64_t, void*), int flags,
                                      int rw, void* data);
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void*), void* data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb*);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb*);
struct qemu_plugin_insn* qemu_plugin_tb_get_insn(const struct qemu_plugin_tb*, size_t index);
const void* qemu_plugin_insn_data(const struct qemu_plugin_insn*);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn*);
unsigned qemu_plugin_mem_size_shift(meminfo);
EXPORT int qemu_plugin_version = 1;

enum { kLine = 64, kMaxWays = 32, kBuckets = 1 << 16 };

struct cache {
  uint64_t sets, ways, misses;
  uint64_t* lines; /* [sets][ways], the most recently used first; 0 is empty, a line's number counts from 1 */
};

struct block {
  struct block* next;
  uint64_t address, count;
  size_t length;
  char text[]; /* its instructions in hexadecimal: what tells two blocks at one address apart */
};

static struct cache l1, l2;
static struct block* table[kBuckets];
static uint64_t accesses;
static char out_path[4096];

static bool hit(struct cache* cache, uint64_t line) {
  uint64_t* set = cache->lines + line % cache->sets * cache->ways;
  uint64_t way = 0;
  while (way + 1 < cache->ways && set[way] != line + 1) ++way;
  const bool found = set[way] == line + 1;
  memmove(set + 1, set, way * sizeof *set);
  set[0] = line + 1;
  cache->misses += !found;
  return found;
}

static void on_memory(unsigned vcpu, meminfo info, uint64_t address, void* data) {
  const uint64_t last = (address + ((uint64_t)1 << qemu_plugin_mem_size_shift(info)) - 1) / kLine;
  (void)vcpu, (void)data;
  ++accesses;
  for (uint64_t line = address / kLine; line <= last; ++line) {
    if (!hit(&l1, line)) hit(&l2, line);
  }
}

static struct block* find(uint64_t address, const char* text, size_t length) {
  struct block** place = &table[(address >> 2) % kBuckets];
  for (; *place; place = &(*place)->next) {
    if ((*place)->address == address && (*place)->length == length && !memcmp((*place)->text, text, length))
      return *place;
  }
  struct block* block = calloc(1, sizeof *block + length + 1);
  if (!block) abort();
  block->address = address;
  block->length = length;
  memcpy(block->text, text, length);
  return *place = block;
}

static void on_translation(plugin_id id, struct qemu_plugin_tb* tb) {
  const size_t count = qemu_plugin_tb_n_insns(tb);
  char* text = malloc(count * 33 + 1); /* an instruction has at most 16 bytes */
  size_t length = 0;
  (void)id;
  if (!text) abort();
  for (size_t i = 0; i < count; ++i) {
    struct qemu_plugin_insn* insn = qemu_plugin_tb_get_insn(tb, i);
    const unsigned char* bytes = qemu_plugin_insn_data(insn);
    text[length++] = ' ';
    for (size_t j = 0; j < qemu_plugin_insn_size(insn); ++j) length += (size_t)sprintf(text + length, "%02x", bytes[j]);
    qemu_plugin_register_vcpu_mem_cb(insn, on_memory, kNoRegisters, kReadAndWrite, NULL);
  }
  struct block* block = find(qemu_plugin_tb_vaddr(tb), text, length);
  qemu_plugin_register_vcpu_tb_exec_inline(tb, kInlineAddU64, &block->count, 1);
  free(text);
}

static void on_exit_(plugin_id id, void* data) {
  FILE* file = fopen(out_path, "w");
  (void)id, (void)data;
  if (!file) {
    perror(out_path);
    return;
  }
  fprintf(file, "accesses %llu\nl1 %llu\nl2 %llu\n", (unsigned long long)accesses, (unsigned long long)l1.misses,
          (unsigned long long)l2.misses);
  for (size_t i = 0; i < kBuckets; ++i) {
    for (const struct block* b = table[i]; b; b = b->next) {
      if (b->count)
        fprintf(file, "%llu %llx%s\n", (unsigned long long)b->count, (unsigned long long)b->address, b->text);
    }
  }
  fclose(file);
}

static void on_vcpu(plugin_id id, unsigned vcpu) {
  (void)id;
  if (vcpu == 0) return;
  fputs("plugin: the program started a second thread; counts need one\n", stderr);
  exit(1);
}

static bool make_cache(struct cache* cache, uint64_t kilobytes, uint64_t ways) {
  if (!ways || ways > kMaxWays || !kilobytes || kilobytes * 1024 % (kLine * ways)) return false;
  cache->ways = ways;
  cache->sets = kilobytes * 1024 / (kLine * ways);
  cache->lines = calloc(cache->sets * ways, sizeof *cache->lines);
  return cache->lines != NULL;
}

EXPORT int qemu_plugin_install(plugin_id id, const void* info, int argc, char** argv) {
  unsigned long long kb1 = 32, ways1 = 4, kb2 = 128, ways2 = 4;
  (void)info;
  for (int i = 0; i < argc; ++i) {
    if (sscanf(argv[i], "out=%4095s", out_path) == 1 || sscanf(argv[i], "l1=%llu", &kb1) == 1 ||
        sscanf(argv[i], "w1=%llu", &ways1) == 1 || sscanf(argv[i], "l2=%llu", &kb2) == 1 ||
        sscanf(argv[i], "w2=%llu", &ways2) == 1) {
      continue;
    }
    fprintf(stderr, "plugin: unknown argument %s\n", argv[i]);
    return 1;
  }
  if (!out_path[0] || !make_cache(&l1, kb1, ways1) || !make_cache(&l2, kb2, ways2)) {
    fputs("plugin: expected out=FILE,l1=KB,w1=WAYS,l2=KB,w2=WAYS\n", stderr);
    return 1;
  }
  qemu_plugin_register_vcpu_init_cb(id, on_vcpu);
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
  qemu_plugin_register_atexit_cb(id, on_exit_, NULL);
  return 0;
}
