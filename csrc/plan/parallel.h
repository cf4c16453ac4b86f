// One step on a pool's threads, each with its own part of the scratch.
#pragma once

#include "base/threads.h"
#include "plan/step.h"

namespace sn {

// args.scratch: `stride` bytes a thread.
inline void run_step(ThreadPool::Session& session, const Step& step, const KernelArgs& args, std::size_t stride) {
  struct Job {
    const Step* step;
    KernelArgs args;
    std::size_t stride;
  } job{&step, args, stride};
  const auto body = [](void* context, std::int64_t begin, std::int64_t end, int thread) noexcept {
    const Job& j = *static_cast<const Job*>(context);
    KernelArgs own = j.args;
    own.scratch = static_cast<char*>(own.scratch) + j.stride * static_cast<std::size_t>(thread);
    j.step->fn(j.step->params.get(), own, begin, end);
  };
  session.parallel_for(step.tasks(step.params.get(), args.batch), body, &job, step.unit);
}

}  // namespace sn
