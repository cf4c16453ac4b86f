// Times candidate kernels on this machine, within a budget for the whole network.
#pragma once

#include <chrono>
#include <map>
#include <string>

#include "base/buffer.h"
#include "base/threads.h"
#include "plan/step.h"

namespace sn {

class Tuner {
 public:
  Tuner(double seconds, ThreadPool& pool)
      : pool_(pool),
        deadline_(Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds))) {}

  bool time_left() const { return Clock::now() < deadline_; }

  // Seconds of one call over all tasks, on the engine's threads: the least of a few calls on seeded data, after one
  // that warms caches and pages. Inputs (all the same) and output hold the given numbers of floats.
  double time(const Step& step, std::int64_t batch, std::size_t in_floats, std::size_t out_floats);

  // What was chosen for an earlier layer of the same problem: networks repeat their blocks.
  struct Choice {
    std::string kernel, why;
    std::int32_t kc = 0;
  };
  std::map<std::string, Choice> remembered;

 private:
  using Clock = std::chrono::steady_clock;
  ThreadPool& pool_;
  Clock::time_point deadline_;
  AlignedBuffer in_, out_, scratch_;
};

}  // namespace sn
