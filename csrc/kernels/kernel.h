// What every kernel looks like to the plan: a function over a range of independent tasks. A kernel trusts its
// parameters (the graph was verified, the plan packed them), allocates nothing, throws nothing, uses no STL.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sn {

constexpr int kMaxStepInputs = 64;  // wide enough to concatenate a whole dense block of DenseNet-201 (49)

struct KernelArgs {
  const float* in[kMaxStepInputs];  // activations, contiguous, [batch, ...] row-major
  float* out;                       // the same
  std::int64_t batch;               // >= 1
  void* scratch;                    // this thread's own, kAlign-aligned, Step::scratch_bytes long
};

// Computes tasks [begin, end) of tasks(params, batch). Tasks write disjoint parts of the output. `params` points to
// the family's own parameter struct.
using KernelFn = void (*)(const void* params, const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept;
using TasksFn = std::int64_t (*)(const void* params, std::int64_t batch) noexcept;

// y = act(x), as an epilogue or on its own. a, b: see ops.inc.
// clang-format off
#define SN_EACH_ACT(F)                                                                          \
  F(none) F(relu) F(clip) F(leaky_relu) F(silu) F(hard_swish) F(hard_sigmoid) F(sigmoid) F(tanh) \
  F(gelu) F(gelu_tanh) F(exp) F(sqrt) F(abs) F(neg)
enum class Act : int {
#define SN_ACT(name) name,
  SN_EACH_ACT(SN_ACT)
#undef SN_ACT
};
// clang-format on

struct Epilogue {
  Act act = Act::none;
  float a = 0, b = 0;
};

}  // namespace sn
