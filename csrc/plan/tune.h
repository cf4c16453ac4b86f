// Times candidate kernels on this machine, within a budget for the whole network.
#pragma once

#include <chrono>
#include <map>
#include <string>

#include "base/buffer.h"
#include "base/threads.h"
#include "kernels/panel/panel.h"
#include "plan/step.h"

namespace sn {

class Tuner {
 public:
  Tuner(double seconds, ThreadPool& pool)
      : pool_(pool),
        deadline_(Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds))) {}

  bool time_left() const { return Clock::now() < deadline_; }

  // Seconds of one call each, the least of a few.
  struct Pair {
    double champion, challenger;
  };
  // The two take turns on the engine's threads, on seeded data: inputs (all the same) and output hold the given numbers
  // of floats.
  Pair race(const Step& champion, const Step& challenger, std::int64_t batch, std::size_t in_floats,
            std::size_t out_floats);

  // What was chosen for an earlier layer of the same problem: networks repeat their blocks.
  struct Choice {
    std::string kernel, why;
    std::int32_t kc = 0, pitch = 0;
    Layout layout = Layout::packed;
    KernelFn vector = nullptr;
    bool by_vector = false;
  };
  std::map<std::string, Choice> remembered;

 private:
  using Clock = std::chrono::steady_clock;
  ThreadPool& pool_;
  Clock::time_point deadline_;
  AlignedBuffer in_, out_, scratch_;
};

// One layer's candidates, each against the best so far. A machine may change its speed by a third from one millisecond
// to the next, so only times taken in turn compare.
class Contest {
 public:
  Contest(Tuner& tuner, std::int64_t batch, std::size_t in_floats, std::size_t out_floats)
      : tuner_(tuner), batch_(batch), in_floats_(in_floats), out_floats_(out_floats) {}

  bool time_left() const { return tuner_.time_left(); }
  void enter(Step step, Tuner::Choice named, bool sparse);

  Step best;             // of no function before the first has entered
  Tuner::Choice choice;  // its name, and the times as a text

 private:
  Tuner& tuner_;
  std::int64_t batch_;
  std::size_t in_floats_, out_floats_;
  bool sparse_ = false;  // the best is
  double rival_ = 0;     // least time of the other kind, dense or sparse, over the best's; 0: none entered
};

}  // namespace sn
