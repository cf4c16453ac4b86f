// Every task of a parallel_for runs once, and tasks that belong together are parted by threads' shares alone.
#include "base/threads.h"

#include <atomic>
#include <memory>

#include "check.h"

using namespace sn;

namespace {

struct Seen {
  std::int64_t tasks, unit;
  int threads;
  std::unique_ptr<std::atomic<int>[]> times;
  std::atomic<int> parted{0};

  bool bounds(std::int64_t at) const {
    for (std::int64_t i = 0; i <= threads; ++i) {
      if (at == tasks * i / threads) return true;
    }
    return at % unit == 0;
  }
};

void note(void* context, std::int64_t begin, std::int64_t end, int) noexcept {
  Seen& seen = *static_cast<Seen*>(context);
  for (std::int64_t i = begin; i < end; ++i) ++seen.times[i];
  if (!seen.bounds(begin) || !seen.bounds(end)) ++seen.parted;
}

void each_task_once() {
  for (const int threads : {1, 2, 3, 7}) {
    ThreadPool pool(threads);
    ThreadPool::Session session(pool);
    for (const std::int64_t tasks : {1, 2, 3, 14, 15, 28, 97, 300}) {
      for (const std::int64_t unit : {1, 2, 3, 7}) {
        Seen seen{tasks, unit, threads, std::make_unique<std::atomic<int>[]>(tasks)};
        for (int round = 0; round < 20; ++round) session.parallel_for(tasks, note, &seen, unit);
        bool all = true;
        for (std::int64_t i = 0; i < tasks; ++i) all = all && seen.times[i] == 20;
        CHECK(all);
        CHECK(seen.parted == 0);
      }
    }
  }
}

}  // namespace

int main() {
  RUN(each_task_once);
  return check::finish();
}
