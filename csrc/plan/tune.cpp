#include "plan/tune.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "plan/parallel.h"

namespace sn {
namespace {

// Timer noise is one-sided, so the least of a few rounds is the estimate; short kernels can afford more of them.
constexpr double kRaceSeconds = 1.5e-3;
constexpr int kMinRounds = 2, kMaxRounds = 12;
// A challenger that much behind has lost, and leaves the time to others.
constexpr double kBehind = 1.15;

void grow(AlignedBuffer& buffer, std::size_t bytes) {
  if (buffer.size() < bytes) buffer = AlignedBuffer(bytes);
}

std::string milliseconds(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3f ms", seconds * 1e3);
  return text;
}

}  // namespace

Tuner::Pair Tuner::race(const Step& champion, const Step& challenger, std::int64_t batch, std::size_t in_floats,
                        std::size_t out_floats) {
  if (in_.size() < in_floats * sizeof(float)) {
    grow(in_, in_floats * sizeof(float));
    std::uint32_t state = 1;
    for (std::size_t i = 0; i < in_floats; ++i) {  // Numerical Recipes' LCG; values in [-1, 1), no denormals
      state = state * 1664525u + 1013904223u;
      in_.as<float>()[i] = static_cast<float>(state >> 8) * (1.0f / 8388608.0f) - 1.0f;
    }
  }
  grow(out_, out_floats * sizeof(float));
  const std::size_t stride = align_up(std::max(champion.scratch_bytes, challenger.scratch_bytes));
  grow(scratch_, stride * static_cast<std::size_t>(pool_.threads()));
  KernelArgs args{};
  std::fill(std::begin(args.in), std::end(args.in), in_.as<float>());
  args.out = out_.as<float>();
  args.batch = batch;
  args.scratch = scratch_.as<>();
  ThreadPool::Session session(pool_);
  const auto seconds = [&](const Step& step) {
    const auto begin = Clock::now();
    run_step(session, step, args, stride);
    return std::chrono::duration<double>(Clock::now() - begin).count();
  };
  seconds(challenger);  // caches and pages are cold
  Pair least{1e30, 1e30};
  double spent = 0;
  for (int i = 1; i <= kMaxRounds; ++i) {
    const double answer = seconds(champion), challenge = seconds(challenger);
    least = {std::min(least.champion, answer), std::min(least.challenger, challenge)};
    spent += answer + challenge;
    if (least.challenger > kBehind * least.champion || (i >= kMinRounds && spent > kRaceSeconds)) break;
  }
  return least;
}

void Contest::enter(Step step, Tuner::Choice named, bool sparse) {
  if (!best.fn) {
    best = std::move(step);
    choice = std::move(named);
    choice.why = "cost model";
    sparse_ = sparse;
    return;
  }
  Tuner::Pair time = tuner_.race(best, step, batch_, in_floats_, out_floats_);
  const double ratio = time.challenger / time.champion;
  if (ratio < 1) {
    best = std::move(step);
    choice = std::move(named);
    rival_ = sparse == sparse_ ? rival_ / ratio : 1 / ratio;
    sparse_ = sparse;
  } else if (sparse != sparse_ && (rival_ == 0 || ratio < rival_)) {
    rival_ = ratio;
  }
  const double least = std::min(time.champion, time.challenger);
  choice.why = "timed: " + milliseconds(least);
  if (rival_ > 0) choice.why += (sparse_ ? " (dense " : " (sparse ") + milliseconds(rival_ * least) + ")";
}

}  // namespace sn
