// Runs a network with one kernel forced, for benchmarks.arm.micro: sparsenet-run and the C API choose for themselves.
//
//   aarch64-linux-gnu-g++ -std=c++17 -O2 -static -Icsrc -Icsrc/include benchmarks/arm/kernel_run.cpp
//       build/aarch64-static/libsparsenet.a -o kernel-run            (in one line)
//   kernel-run MODEL.snet ISA KERNEL --repeat N --warmup N
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <random>
#include <utility>
#include <vector>

#include "io/snet.h"
#include "plan/engine.h"

namespace {

// Buffers of one sample of each tensor, with numbers between -1 and 1.
std::vector<std::vector<float>> buffers(const std::vector<sn::TensorInfo>& tensors) {
  std::mt19937 rng(7);
  std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
  std::vector<std::vector<float>> made;
  for (const sn::TensorInfo& tensor : tensors) {
    std::size_t size = 1;
    for (std::size_t i = 1; i < tensor.shape.size(); ++i) size *= static_cast<std::size_t>(tensor.shape[i]);
    made.emplace_back(size);
    for (float& x : made.back()) x = uniform(rng);
  }
  return made;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 8) {
    std::fputs("usage: kernel-run MODEL.snet ISA KERNEL --repeat N --warmup N\n", stderr);
    return 2;
  }
  sn::CompileOptions options;
  options.tune = false;
  options.isa = argv[2];
  options.kernel = argv[3];
  const auto engine = sn::Engine::compile(sn::load_snet(argv[1]), options);
  const auto x = buffers(engine->inputs());
  auto y = buffers(engine->outputs());
  std::vector<const float*> in;
  std::vector<float*> out;
  for (const auto& of : x) in.push_back(of.data());
  for (auto& of : y) out.push_back(of.data());
  for (int left = std::atoi(argv[5]) + std::atoi(argv[7]); left > 0; --left) engine->run(1, in.data(), out.data());
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "kernel-run: %s\n", error.what());
  return 1;
}
