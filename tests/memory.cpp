// What compiling a .snet file and running the network hold in memory, by counting every allocation: never a dense copy
// of more than one sparse layer, and packed weights and the arena in the end.
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <random>
#include <vector>

#include "check.h"
#include "io/snet.h"
#include "plan/engine.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)
int main() {
  return 0;  // a sanitizer owns malloc
}
#else

namespace {

std::atomic<std::ptrdiff_t> live{0}, peak{0};

void* taken(void* p) {
  if (!p) return p;
  const std::ptrdiff_t now = live += static_cast<std::ptrdiff_t>(malloc_usable_size(p));
  std::ptrdiff_t old = peak;
  while (now > old && !peak.compare_exchange_weak(old, now)) {
  }
  return p;
}

}  // namespace

// glibc lets a program replace malloc and still reach the original; operator new ends up here as well.
#define EXPORTED extern "C" __attribute__((visibility("default")))
extern "C" void* __libc_malloc(std::size_t);
extern "C" void* __libc_calloc(std::size_t, std::size_t);
extern "C" void* __libc_realloc(void*, std::size_t);
extern "C" void* __libc_memalign(std::size_t, std::size_t);
extern "C" void __libc_free(void*);
EXPORTED void* malloc(std::size_t n) noexcept {
  return taken(__libc_malloc(n));
}
EXPORTED void* calloc(std::size_t n, std::size_t size) noexcept {
  return taken(__libc_calloc(n, size));
}
EXPORTED void* realloc(void* p, std::size_t n) noexcept {
  if (p) live -= static_cast<std::ptrdiff_t>(malloc_usable_size(p));
  return taken(__libc_realloc(p, n));
}
EXPORTED void* memalign(std::size_t align, std::size_t n) noexcept {
  return taken(__libc_memalign(align, n));
}
EXPORTED void* aligned_alloc(std::size_t align, std::size_t n) noexcept {
  return taken(__libc_memalign(align, n));
}
EXPORTED void free(void* p) noexcept {
  if (p) live -= static_cast<std::ptrdiff_t>(malloc_usable_size(p));
  __libc_free(p);
}

namespace {

using namespace sn;

constexpr int kLayers = 8, kChannels = 256, kSide = 6;
constexpr std::ptrdiff_t kDenseLayer = std::ptrdiff_t{kChannels} * kChannels * 9 * 4;
constexpr std::ptrdiff_t kSlack = 200000;  // names, shapes, steps, JSON

// Convolutions with 95 % zeros, each with a batch norm to fold and a ReLU to fuse.
std::string file() {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  Graph g;
  ValueId x = g.add_input("x", {kBatch, kChannels, kSide, kSide});
  const std::vector<std::int64_t> one{1, 1}, pad{1, 1, 1, 1};
  for (int layer = 0; layer < kLayers; ++layer) {
    const std::string name = "layer" + std::to_string(layer);
    std::vector<float> w(std::size_t{kChannels} * kChannels * 9);
    for (float& v : w) v = random() % 20 == 0 ? normal(random) * 0.1f : 0.0f;
    x = g.add_node(Op::Conv, {x, g.add_constant(name + ".w", {kChannels, kChannels, 3, 3}, w)},
                   {{"stride", one}, {"dilation", one}, {"padding", pad}});
    std::vector<ValueId> norm{x};
    for (const char* p : {".gamma", ".beta", ".mean", ".var"}) {
      std::vector<float> v(kChannels);
      for (float& e : v) e = 0.5f + std::abs(normal(random));
      norm.push_back(g.add_constant(name + p, {kChannels}, v));
    }
    x = g.add_node(Op::BatchNorm, norm);
    x = g.add_node(Op::Activation, {x}, {{"act", std::string("relu")}});
  }
  g.set_output(x);
  return serialize(g);
}

void compiled_from_a_file(bool tune) {
  const std::string bytes = file();
  const std::ptrdiff_t before = live;
  peak = before;
  CompileOptions options;
  options.tune = tune;
  options.tune_seconds = 0.2;
  const auto engine = Engine::compile(parse_snet(bytes.data(), bytes.size()), options);
  const std::ptrdiff_t packed = static_cast<std::ptrdiff_t>(engine->packed_bytes());
  CHECK(packed > 0 && packed < kLayers * kDenseLayer / 5);
  // Weights as they came, and packed ones, neither larger than the dense array's sixth; one layer dense; what tuning
  // packs to compare, up to a dense candidate beside it, and its activations.
  const std::ptrdiff_t compressed = kLayers * kDenseLayer / 6;
  CHECK(peak - before < compressed + packed + (tune ? 4 : 2) * kDenseLayer + kSlack);
  CHECK(peak - before < kLayers * kDenseLayer);
  CHECK(live - before < packed * 11 / 10 + kSlack);

  std::vector<float> x(std::size_t{kChannels} * kSide * kSide, 0.5f), y(x.size());
  const float* in = x.data();
  float* out = y.data();
  peak = live.load();
  const std::ptrdiff_t io = static_cast<std::ptrdiff_t>(2 * x.size() * sizeof(float));
  engine->run(1, &in, &out);
  // Beside them a thread's scratch, which L2 bounds and not the network.
  CHECK(peak - before - io < (packed + static_cast<std::ptrdiff_t>(engine->arena_bytes(1))) * 11 / 10 + kDenseLayer);
}

void without_tuning() {
  compiled_from_a_file(false);
}
void with_tuning() {
  compiled_from_a_file(true);
}

// A graph that somebody else holds keeps its weights; nobody's else are touched.
void a_shared_graph_is_left_alone() {
  const std::string bytes = file();
  const Graph graph = parse_snet(bytes.data(), bytes.size());
  CompileOptions options;
  options.tune = false;
  Engine::compile(graph, options);
  CHECK(serialize(graph) == bytes);
}

}  // namespace

int main() {
  RUN(without_tuning);
  RUN(with_tuning);
  RUN(a_shared_graph_is_left_alone);
  return check::finish();
}
#endif
