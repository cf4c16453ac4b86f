// A thread pool whose workers are awake only while a network runs.
//
// Between steps of one run a worker spins for a bounded time, since the next step follows within microseconds and
// waking costs tens of them; when the run ends it parks on a condition variable, so an idle engine uses no CPU.
//
// Threads do not survive fork(): in a child process a pool made by the parent runs everything on its caller.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace sn {

// A host's own pool: must call task(arg, i) for every i in [0, n), in any threads, and return when all are done.
struct ExternalPool {
  void (*parallel_for)(void* user, int n, void (*task)(void* arg, int i), void* arg) = nullptr;
  void* user = nullptr;
};

class ThreadPool {
 public:
  // Computes tasks [begin, end) on thread number `thread` of threads().
  using Body = void (*)(void* context, std::int64_t begin, std::int64_t end, int thread) noexcept;

  explicit ThreadPool(int threads, ExternalPool external = {});  // the caller is one of them
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }

  // One run of a network. If another thread's session holds the pool, this one runs on its caller alone.
  class Session {
   public:
    explicit Session(ThreadPool& pool);
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
    // for (i = 0; i < tasks; ++i) body(context, i, i + 1, some thread), in chunks, in parallel; returns when done.
    // Chunks begin and end at multiples of `unit`, but where threads' shares do.
    void parallel_for(std::int64_t tasks, Body body, void* context, std::int64_t unit = 1);

   private:
    ThreadPool& pool_;
    bool owner_;
  };

 private:
  void worker(int thread);
  void work(int thread) noexcept;

  void stop();
  bool forked() const;  // this is a child of the process that made the pool

  // What waits for threads when it is destroyed, and so must not be in a child, where they no longer are.
  struct Workers {
    std::vector<std::thread> threads;
    std::condition_variable wake;
  };

  const int threads_;
  const ExternalPool external_;
  const int process_;
  std::unique_ptr<Workers> workers_;
  std::mutex session_;  // held by the session that may use the workers

  std::mutex mutex_;
  bool stop_ = false;                    // under mutex_
  std::atomic<bool> active_{false};      // a session is on: spin for its next job
  std::atomic<std::uint64_t> epoch_{0};  // one more for every job
  std::atomic<int> running_{0};          // workers that have not finished the current job

  // The current job: written before epoch_ is released.
  Body body_ = nullptr;
  void* context_ = nullptr;
  std::int64_t grain_ = 1;
  // Thread t's own share of the tasks; whoever has finished takes from the others'. Shares are the same part of every
  // step, so that what a thread wrote in one step is in its own cache in the next.
  struct alignas(64) Share {
    std::atomic<std::int64_t> next{0};  // from the multiple of `unit` at `begin` or before it
    std::int64_t begin = 0, end = 0;
  };
  std::unique_ptr<Share[]> shares_;
};

}  // namespace sn
