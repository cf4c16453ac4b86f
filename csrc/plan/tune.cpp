#include "plan/tune.h"

#include <algorithm>

#include "plan/parallel.h"

namespace sn {
namespace {

// Timer noise is one-sided, so the least of a few repeats is the estimate; short kernels can afford more of them.
constexpr double kRepeatSeconds = 0.6e-3;
constexpr int kMinRepeats = 2, kMaxRepeats = 12;

void grow(AlignedBuffer& buffer, std::size_t bytes) {
  if (buffer.size() < bytes) buffer = AlignedBuffer(bytes);
}

}  // namespace

double Tuner::time(const Step& step, std::int64_t batch, std::size_t in_floats, std::size_t out_floats) {
  if (in_.size() < in_floats * sizeof(float)) {
    grow(in_, in_floats * sizeof(float));
    std::uint32_t state = 1;
    for (std::size_t i = 0; i < in_floats; ++i) {  // Numerical Recipes' LCG; values in [-1, 1), no denormals
      state = state * 1664525u + 1013904223u;
      in_.as<float>()[i] = static_cast<float>(state >> 8) * (1.0f / 8388608.0f) - 1.0f;
    }
  }
  grow(out_, out_floats * sizeof(float));
  const std::size_t stride = align_up(step.scratch_bytes);
  grow(scratch_, stride * static_cast<std::size_t>(pool_.threads()));
  KernelArgs args{};
  std::fill(std::begin(args.in), std::end(args.in), in_.as<float>());
  args.out = out_.as<float>();
  args.batch = batch;
  args.scratch = scratch_.as<>();
  ThreadPool::Session session(pool_);
  double best = 1e30, spent = 0;
  for (int i = 0; i <= kMaxRepeats; ++i) {
    const auto begin = Clock::now();
    run_step(session, step, args, stride);
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    if (i == 0) continue;
    best = std::min(best, seconds);
    spent += seconds;
    if (i >= kMinRepeats && spent > kRepeatSeconds) break;
  }
  return best;
}

}  // namespace sn
