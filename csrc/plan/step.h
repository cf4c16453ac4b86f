// One step of a plan, and how a node becomes steps.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/cpu.h"
#include "graph/graph.h"
#include "kernels/kernel.h"

namespace sn {

// What explain() shows of a step.
struct StepInfo {
  std::string node, op, kernel;  // kernel = its table name, e.g. "spmm_1x1_r8_avx512"
  std::string layout;            // of a convolution's matrix kernel: what its operands stand in (kernels/panel/panel.h)
  std::string why;               // why this kernel: "tuned: 1.31 ms (gemm 2.90)", "density 0.97", ...
  Shape out_shape;
  std::int64_t weights = 0, nnz = 0;  // elements of the weight, nonzeros of it
  double macs = 0, useful_macs = 0;   // per sample, dense and over nonzeros only
  std::size_t packed_bytes = 0;
};

struct Step {
  KernelFn fn = nullptr;
  TasksFn tasks = nullptr;
  std::int64_t unit = 1;               // tasks that cost less together, from a multiple of it on: those of one tile
  std::shared_ptr<const void> params;  // owns the packed weights too
  std::vector<ValueId> in;             // activations only: what becomes KernelArgs::in, at most kMaxStepInputs
  ValueId out = kNoValue;
  unsigned overwrites = 0;        // bit i: out may be in[i]'s memory, each element being read before it is written
  std::size_t scratch_bytes = 0;  // per thread, for any batch
  StepInfo info;
};

class Tuner;

// Turns one node into one step for `isa`. The node's constants are dense here, and gone after: a step keeps copies.
// Throws UnsupportedOp if no kernel can do it. Each op's lowering function stands in plan/lower_<family>.cpp; the table
// from Op to function in plan/lower.cpp.
struct LowerContext {
  const Graph& graph;
  Isa isa;
  int threads = 1;
  std::int64_t batch = 1;        // images that run at a time
  std::string kernel;            // forced, where it can do the node
  Tuner* tuner = nullptr;        // null: choose by the cost model alone
  bool winograd = true;          // may be a candidate
  const Node* pool = nullptr;    // max pooling that alone reads the node's output; the step may do it, too
  const Node* addend = nullptr;  // the convolution that gives the node's residual, for the step to do (can_add)
  std::string layout = "";       // forced with the kernel
};
using LowerFn = Step (*)(const LowerContext&, const Node&);

Epilogue epilogue_of(const Node& node);  // from the attributes act, act_a, act_b

}  // namespace sn
