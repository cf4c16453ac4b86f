// Compressed constants against the arrays they stand for.
#include "graph/sparse_floats.h"

#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "check.h"
#include "graph/graph.h"

using sn::SparseFloats;

namespace {

std::vector<float> numbers(std::int64_t n, double density, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<double> uniform;
  std::vector<float> w(static_cast<std::size_t>(n));
  for (float& x : w) {
    const double drawn = uniform(random);
    x = drawn < density ? normal(random) : drawn < density + 0.01 ? -0.0f : 0.0f;
  }
  return w;
}

void every_way_to_read_agrees() {
  for (const std::int64_t n : {1024, 1025, 4095, 5000, 20011}) {
    for (const double density : {0.0, 0.002, 0.1, 0.6}) {
      const std::vector<float> w = numbers(n, density, static_cast<unsigned>(n));
      const auto sparse = SparseFloats::compress(w.data(), n);
      CHECK(sparse != nullptr);
      CHECK(sparse->size() == n);
      std::vector<float> back(w.size(), 1.0f);
      sparse->expand(back.data());
      CHECK(std::memcmp(back.data(), w.data(), w.size() * sizeof(float)) == 0);  // -0.0 too
      std::int64_t nonzero = 0, wrong = 0, visited = 0;
      for (std::int64_t i = 0; i < n; ++i) {
        const float got = (*sparse)[i];
        wrong += std::memcmp(&got, &w[static_cast<std::size_t>(i)], sizeof got) != 0;
        nonzero += w[static_cast<std::size_t>(i)] != 0;
      }
      CHECK(wrong == 0);
      CHECK(sparse->count_nonzero() == nonzero);
      std::int64_t last = -1;
      sparse->for_each([&](std::int64_t i, float v) {
        wrong += i <= last || v != w[static_cast<std::size_t>(i)];
        last = i;
        ++visited;
      });
      CHECK(wrong == 0);
      CHECK(visited >= nonzero);
      std::mt19937 random(7);
      for (int trial = 0; trial < 2000; ++trial) {
        const auto begin = static_cast<std::int64_t>(random() % static_cast<unsigned>(n));
        const std::int64_t end = std::min<std::int64_t>(n, begin + static_cast<std::int64_t>(random() % 150));
        bool any = false;
        for (std::int64_t i = begin; i < end; ++i) any |= w[static_cast<std::size_t>(i)] != 0;
        wrong += sparse->any_nonzero(begin, end) != any;
      }
      CHECK(wrong == 0);
      const auto twice = sparse->map([](std::int64_t i, float v) { return v * static_cast<float>(i % 5); });
      for (std::int64_t i = 0; i < n; ++i)
        wrong += (*twice)[i] != w[static_cast<std::size_t>(i)] * static_cast<float>(i % 5);
      CHECK(wrong == 0);
    }
  }
}

void only_what_gets_smaller_is_compressed() {
  const std::vector<float> dense = numbers(4096, 0.9, 1), small = numbers(1000, 0.1, 2), sparse = numbers(4096, 0.1, 3);
  CHECK(SparseFloats::compress(dense.data(), 4096) == nullptr);
  CHECK(SparseFloats::compress(small.data(), 1000) == nullptr);
  CHECK(SparseFloats::compress(sparse.data(), 4096)->bytes() < 4096 * sizeof(float) / 4);
  sn::Graph graph;
  const sn::ValueId v = graph.add_constant("w", {4096}, sparse), d = graph.add_constant("d", {4096}, dense);
  CHECK(graph.values[static_cast<std::size_t>(v)].sparse && !graph.values[static_cast<std::size_t>(v)].data);
  CHECK(graph.values[static_cast<std::size_t>(v)].is_constant());
  CHECK(graph.values[static_cast<std::size_t>(d)].data && !graph.values[static_cast<std::size_t>(d)].sparse);
  CHECK(std::memcmp(graph.values[static_cast<std::size_t>(v)].dense().get(), sparse.data(), 4096 * 4) == 0);
}

}  // namespace

int main() {
  RUN(every_way_to_read_agrees);
  RUN(only_what_gets_smaller_is_compressed);
  return check::finish();
}
