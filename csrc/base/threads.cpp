#include "base/threads.h"

#include <unistd.h>

#include <algorithm>
#include <system_error>

#include "base/error.h"

namespace sn {
namespace {

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// About 50 us at 40 cycles a pause: longer than the gap between two parallel steps, shorter than a serial layer.
constexpr int kSpins = 4000;
// A waiting caller gives its core up now and then: on a busy machine the worker it waits for may need it.
constexpr int kSpinsBeforeYield = 2000;

}  // namespace

ThreadPool::ThreadPool(int threads, ExternalPool external)
    : threads_(std::max(1, threads)),
      external_(external),
      process_(getpid()),
      workers_(std::make_unique<Workers>()),
      shares_(std::make_unique<Share[]>(static_cast<std::size_t>(threads_))) {
  if (external_.parallel_for) return;
  try {
    for (int i = 1; i < threads_; ++i) workers_->threads.emplace_back([this, i] { worker(i); });
  } catch (const std::system_error& e) {
    stop();
    fail(ErrorCode::InvalidArgument, "threads=", threads_, ": the system refuses to start that many: ", e.what());
  }
}

bool ThreadPool::forked() const {
  return getpid() != process_;
}

ThreadPool::~ThreadPool() {
  if (forked()) {
    static_cast<void>(workers_.release());
    return;
  }
  stop();
}

void ThreadPool::stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  workers_->wake.notify_all();
  for (std::thread& t : workers_->threads) t.join();
}

void ThreadPool::work(int thread) noexcept {
  for (int i = 0; i < threads_; ++i) {
    Share& share = shares_[(thread + i) % threads_];
    for (;;) {
      const std::int64_t next = share.next.fetch_add(grain_, std::memory_order_relaxed);
      const std::int64_t begin = std::max(next, share.begin), end = std::min(next + grain_, share.end);
      if (begin >= end) break;
      body_(context_, begin, end, thread);
    }
  }
}

void ThreadPool::worker(int thread) {
  std::uint64_t seen = 0;
  for (;;) {
    for (int spin = 0; spin < kSpins && active_.load(std::memory_order_relaxed); ++spin) {
      if (epoch_.load(std::memory_order_acquire) != seen) break;
      pause();
    }
    if (epoch_.load(std::memory_order_acquire) == seen) {
      std::unique_lock<std::mutex> lock(mutex_);
      workers_->wake.wait(lock, [&] { return stop_ || epoch_.load(std::memory_order_relaxed) != seen; });
      if (stop_) return;
    }
    ++seen;  // a job is not replaced before every worker has finished it
    work(thread);
    running_.fetch_sub(1, std::memory_order_release);
  }
}

ThreadPool::Session::Session(ThreadPool& pool)
    : pool_(pool), owner_(pool.threads_ > 1 && !pool.forked() && pool.session_.try_lock()) {
  if (owner_) pool_.active_.store(true, std::memory_order_relaxed);
}

ThreadPool::Session::~Session() {
  if (!owner_) return;
  pool_.active_.store(false, std::memory_order_relaxed);
  pool_.session_.unlock();
}

void ThreadPool::Session::parallel_for(std::int64_t tasks, Body body, void* context, std::int64_t unit) {
  ThreadPool& p = pool_;
  if (!owner_ || tasks == 1) {
    body(context, 0, tasks, 0);
    return;
  }
  p.body_ = body;
  p.context_ = context;
  // Small enough to even out a slow core, large enough that neighbouring tasks share what they read.
  p.grain_ = std::max<std::int64_t>(1, tasks / (p.threads_ * 4 * unit)) * unit;
  for (std::int64_t i = 0; i < p.threads_; ++i) {
    Share& share = p.shares_[i];
    share.begin = tasks * i / p.threads_, share.end = tasks * (i + 1) / p.threads_;
    share.next.store(share.begin / unit * unit, std::memory_order_relaxed);
  }
  if (p.external_.parallel_for) {
    p.external_.parallel_for(
        p.external_.user, p.threads_, [](void* pool, int i) { static_cast<ThreadPool*>(pool)->work(i); }, &p);
    return;
  }
  p.running_.store(p.threads_ - 1, std::memory_order_relaxed);
  {
    // The lock makes a worker that is about to park see the new epoch, or be woken.
    std::lock_guard<std::mutex> lock(p.mutex_);
    p.epoch_.fetch_add(1, std::memory_order_release);
  }
  p.workers_->wake.notify_all();
  p.work(0);
  for (int spin = 0; p.running_.load(std::memory_order_acquire) != 0; ++spin) {
    pause();
    if (spin % kSpinsBeforeYield == kSpinsBeforeYield - 1) std::this_thread::yield();
  }
}

}  // namespace sn
