// What a host may rely on while a network runs: nothing is allocated once a batch size has run, engines may share
// threads and threads may share an engine, and the pool uses no CPU between calls.
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <random>
#include <thread>
#include <vector>

#include "check.h"
#include "plan/engine.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)
#define HOOKED 0  // a sanitizer owns malloc: count nothing, keep the thread tests
#else
#define HOOKED 1
#endif

namespace {

std::atomic<bool> counting{false};
std::atomic<long> allocations{0};

}  // namespace

#if HOOKED
namespace {
void count() {
  if (counting.load(std::memory_order_relaxed)) allocations.fetch_add(1, std::memory_order_relaxed);
}
}  // namespace

// glibc lets a program replace malloc and still reach the original; operator new ends up here as well.
#define EXPORTED extern "C" __attribute__((visibility("default")))
extern "C" void* __libc_malloc(std::size_t);
extern "C" void* __libc_calloc(std::size_t, std::size_t);
extern "C" void* __libc_realloc(void*, std::size_t);
extern "C" void* __libc_memalign(std::size_t, std::size_t);
EXPORTED void* malloc(std::size_t n) noexcept {
  count();
  return __libc_malloc(n);
}
EXPORTED void* calloc(std::size_t n, std::size_t size) noexcept {
  count();
  return __libc_calloc(n, size);
}
EXPORTED void* realloc(void* p, std::size_t n) noexcept {
  count();
  return __libc_realloc(p, n);
}
EXPORTED void* memalign(std::size_t align, std::size_t n) noexcept {
  count();
  return __libc_memalign(align, n);
}
EXPORTED void* aligned_alloc(std::size_t align, std::size_t n) noexcept {
  count();
  return __libc_memalign(align, n);
}
EXPORTED int posix_memalign(void** out, std::size_t align, std::size_t n) noexcept {
  count();
  *out = __libc_memalign(align, n);
  return *out ? 0 : ENOMEM;
}
#endif

namespace {

template <class Function>
long allocations_in(Function function) {
  allocations = 0;
  counting = true;
  function();
  counting = false;
  return allocations;
}

std::vector<float> random_floats(std::size_t n, unsigned seed, double zeros = 0) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<double> uniform;
  std::vector<float> out(n);
  for (float& v : out) {
    const float drawn = normal(rng);
    v = uniform(rng) < zeros ? 0.0F : drawn;
  }
  return out;
}

constexpr std::int64_t kChannels = 3, kSide = 20, kClasses = 10;
constexpr std::size_t kIn = kChannels * kSide * kSide, kOut = kClasses;

// A step of every family that keeps state or scratch: sparse and dense convolution, depthwise, pooling, a residual
// that lives across steps, sparse and dense fully connected layers, softmax.
sn::Graph network(unsigned seed) {
  sn::Graph g;
  using sn::Attrs;
  using Ints = std::vector<std::int64_t>;
  const auto conv = [&](sn::ValueId x, std::int64_t in, std::int64_t out, std::int64_t k, std::int64_t stride,
                        std::int64_t groups, double zeros) {
    const std::string n = std::to_string(g.nodes.size());
    const sn::Shape shape{out, in / groups, k, k};
    const auto w = g.add_constant("w" + n, shape, random_floats(out * in / groups * k * k, ++seed, zeros));
    const auto b = g.add_constant("b" + n, {out}, random_floats(out, ++seed));
    const Attrs attrs{{"stride", Ints{stride, stride}},
                      {"padding", Ints{k / 2, k / 2, k / 2, k / 2}},
                      {"dilation", Ints{1, 1}},
                      {"groups", groups}};
    return g.add_node(sn::Op::Activation, {g.add_node(sn::Op::Conv, {x, w, b}, attrs)}, {{"act", std::string("relu")}});
  };
  const auto linear = [&](sn::ValueId x, std::int64_t in, std::int64_t out, double zeros) {
    const std::string n = std::to_string(g.nodes.size());
    const auto w = g.add_constant("w" + n, {out, in}, random_floats(out * in, ++seed, zeros));
    return g.add_node(sn::Op::Linear, {x, w});
  };
  const auto x = g.add_input("x", {sn::kBatch, kChannels, kSide, kSide});
  const auto a = conv(x, kChannels, 16, 3, 1, 1, 0.0);
  const auto b = conv(a, 16, 16, 3, 1, 1, 0.9);
  const auto c = g.add_node(sn::Op::Add, {a, conv(b, 16, 16, 3, 1, 16, 0.0)});
  const auto d = conv(c, 16, 32, 1, 2, 1, 0.8);
  const auto pool = g.add_node(
      sn::Op::MaxPool, {d},
      {{"kernel", Ints{2, 2}}, {"stride", Ints{2, 2}}, {"padding", Ints{0, 0, 0, 0}}, {"dilation", Ints{1, 1}}});
  const auto flat = g.add_node(sn::Op::Reshape, {pool}, {{"shape", Ints{0, -1}}});
  const auto hidden = linear(flat, 32 * 5 * 5, 64, 0.9);
  g.set_output(g.add_node(sn::Op::Softmax, {linear(hidden, 64, kClasses, 0.0)}, {{"axis", std::int64_t{1}}}));
  return g;
}

std::shared_ptr<const sn::Engine> compiled(unsigned seed, int threads) {
  sn::CompileOptions options;
  options.threads = threads;
  options.tune = false;
  return sn::Engine::compile(network(seed), options);
}

std::vector<float> run(const sn::Engine& engine, const std::vector<float>& x, std::vector<float> y) {
  const float* in = x.data();
  float* out = y.data();
  engine.run(static_cast<std::int64_t>(x.size() / kIn), &in, &out);
  return y;
}

void allocates_nothing(int threads) {
  const auto engine = compiled(1, threads);
  const auto x = random_floats(4 * kIn, 7);
  std::vector<float> y(4 * kOut);
  const float* in = x.data();
  float* out = y.data();
  engine->run(4, &in, &out);
  const long later = allocations_in([&] {
    for (int i = 0; i < 20; ++i) engine->run(1 + i % 4, &in, &out);
  });
  CHECK(later == 0);

  const auto reserved = compiled(1, threads);
  reserved->reserve(4);
  CHECK(allocations_in([&] { reserved->run(4, &in, &out); }) == 0);

  std::vector<double> begin(engine->steps().size()), end(begin.size());
  engine->run_timed(4, &in, &out, begin.data(), end.data());
  const long timed = allocations_in([&] { engine->run_timed(4, &in, &out, begin.data(), end.data()); });
  CHECK(timed == 0);
}

// Two calls at once leave two workspaces behind, a small and a large one. Each later call takes the one that fits: were
// it the latest one, the small one would grow.
void takes_the_workspace_that_fits() {
  struct Nested {
    std::shared_ptr<const sn::Engine> engine;
    std::vector<float> x = random_floats(kIn, 7), y = std::vector<float>(kOut);
    bool running = false;
    void run() {
      const float* in = x.data();
      float* out = y.data();
      engine->run(1, &in, &out);
    }
  } nested;
  sn::ExternalPool pool;
  pool.user = &nested;
  pool.parallel_for = [](void* user, int n, void (*task)(void*, int), void* arg) {
    Nested& self = *static_cast<Nested*>(user);
    if (!self.running) {
      self.running = true;
      self.run();
    }
    for (int i = 0; i < n; ++i) task(arg, i);
  };
  sn::CompileOptions options;
  options.threads = 2;
  options.tune = false;
  nested.engine = sn::Engine::compile(network(1), options, pool);
  const auto x = random_floats(4 * kIn, 7);
  std::vector<float> y(4 * kOut);
  const float* in = x.data();
  float* out = y.data();
  nested.engine->run(4, &in, &out);
  CHECK(nested.running);
  const long later = allocations_in([&] {
    for (int i = 0; i < 3; ++i) {
      nested.run();
      nested.engine->run(4, &in, &out);
    }
  });
  CHECK(later == 0);
}

// The answers of concurrent calls, each compared with the one a lone call gave.
void concurrent(const sn::Engine& first, const sn::Engine& second) {
  constexpr int kThreads = 2, kRuns = 50;
  const sn::Engine* engines[kThreads] = {&first, &second};
  std::vector<float> x[kThreads], expected[kThreads];
  for (int t = 0; t < kThreads; ++t) {
    x[t] = random_floats((t + 1) * kIn, 100 + t);
    expected[t] = run(*engines[t], x[t], std::vector<float>((t + 1) * kOut));
  }
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kRuns; ++i) {
        const auto y = run(*engines[t], x[t], std::vector<float>(expected[t].size()));
        wrong += std::memcmp(y.data(), expected[t].data(), y.size() * sizeof(float)) != 0;
      }
    });
  }
  for (auto& t : threads) t.join();
  CHECK(wrong == 0);
}

double cpu_seconds() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

void parks_when_idle() {
  const auto engine = compiled(1, 2);
  run(*engine, random_floats(kIn, 7), std::vector<float>(kOut));
  std::this_thread::sleep_for(std::chrono::milliseconds(5));  // a worker may finish its last bounded spin
  const double before = cpu_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  CHECK(cpu_seconds() - before < 0.002);
}

#if HOOKED
void the_hook_counts() {
  void* volatile p = nullptr;
  CHECK(allocations_in([&] { p = ::operator new(8); }) == 1);
  ::operator delete(p);
  CHECK(allocations_in([&] { p = std::aligned_alloc(64, 64); }) == 1);
  std::free(p);
}
#endif

void one_thread_allocates_nothing() {
  allocates_nothing(1);
}
void two_threads_allocate_nothing() {
  allocates_nothing(2);
}

void one_engine_in_two_threads() {
  for (int threads : {1, 2}) {
    const auto engine = compiled(1, threads);
    concurrent(*engine, *engine);
  }
}

void two_engines_in_two_threads() {
  for (int threads : {1, 2}) concurrent(*compiled(1, threads), *compiled(2, threads));
}

}  // namespace

int main() {
#if HOOKED
  RUN(the_hook_counts);
#endif
  RUN(one_thread_allocates_nothing);
  RUN(two_threads_allocate_nothing);
  RUN(takes_the_workspace_that_fits);
  RUN(one_engine_in_two_threads);
  RUN(two_engines_in_two_threads);
  RUN(parks_when_idle);
  return check::finish();
}
