// A Conv's or Linear's weights packed for one kernel, as a step.
#pragma once

#include "plan/choose.h"
#include "plan/step.h"

namespace sn {

struct MatrixLayer {
  const LowerContext& context;
  const Node& node;
  const float* w;  // [groups][M][K], with the addend's columns behind each row's own
  MatrixProblem problem;
  std::int64_t inner;  // rows of the matrix product a sample: x[N, inner..., K] of Linear, else 1

  std::int64_t rows() const { return context.batch * inner; }
  Step build(const Candidate& c) const;
};

}  // namespace sn
