#include "plan/matrix_step.h"

#include <algorithm>
#include <numeric>

#include "kernels/panel/pack.h"

namespace sn {
namespace {

// Everything a matrix step needs, in one allocation that the step owns.
struct Layer {
  MatrixProblem q{}, more{};
  std::shared_ptr<PackedMatrix> weights;
  std::vector<float> bias;
  std::vector<std::int32_t> chunk;
  // linear only
  std::int64_t inner = 1;  // rows of the matrix product a sample: x[N, inner..., K]
  std::int64_t vector_limit = 0;
  KernelFn vector_fn = nullptr, panel_fn = nullptr;
  TasksFn panel_tasks = nullptr;
};

std::int64_t linear_tasks(const void* params, std::int64_t batch) noexcept {
  const Layer& l = *static_cast<const Layer*>(params);
  const std::int64_t rows = batch * l.inner;
  return rows <= l.vector_limit ? l.q.chunks : l.panel_tasks(&l.q, rows);
}

void linear_run(const void* params, const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  const Layer& l = *static_cast<const Layer*>(params);
  KernelArgs rows = args;
  rows.batch = args.batch * l.inner;
  (rows.batch <= l.vector_limit ? l.vector_fn : l.panel_fn)(&l.q, rows, begin, end);
}

std::int64_t conv_tasks(const void* params, std::int64_t batch) noexcept {
  const Layer& l = *static_cast<const Layer*>(params);
  return l.panel_tasks(&l.q, batch);
}

void conv_run(const void* params, const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  const Layer& l = *static_cast<const Layer*>(params);
  l.panel_fn(&l.q, args, begin, end);
}

// Row blocks split into `chunks` of about equal work, given the entries of each.
std::vector<std::int32_t> split_rows(const std::vector<std::int64_t>& entries, int chunks) {
  constexpr double kRowWork = 4;  // in entries: even an empty row has its sums to store
  const int rows = static_cast<int>(entries.size());
  const double total = kRowWork * rows + static_cast<double>(std::accumulate(entries.begin(), entries.end(), 0LL));
  double sum = 0;
  std::vector<std::int32_t> out{0};
  for (int rb = 0; rb < rows; ++rb) {
    sum += kRowWork + static_cast<double>(entries[rb]);
    const int done = static_cast<int>(out.size());
    if (done < chunks && sum >= total * done / chunks) out.push_back(rb + 1);
  }
  if (out.back() != rows) out.push_back(rows);
  return out;
}

// Chunks that begin at multiples of `unit`.
void align_chunks(std::vector<std::int32_t>& chunk, std::int32_t unit) {
  for (std::size_t i = 1; i + 1 < chunk.size(); ++i) chunk[i] -= chunk[i] % unit;
  chunk.erase(std::unique(chunk.begin(), chunk.end()), chunk.end());
}

}  // namespace

Step MatrixLayer::build(const Candidate& c) const {
  const PanelVariant& v = c.variant;
  auto layer = std::make_shared<Layer>();
  layer->q = problem;
  MatrixProblem& q = layer->q;
  if (problem.more) layer->more = *problem.more, q.more = &layer->more;
  q.pitch = c.pitch;
  q.layout = c.layout;
  q.strip = strip_tiles(q, v);
  q.advance = tile_advance(q, v);
  layer->bias.assign(static_cast<std::size_t>(q.groups) * q.M, 0.0f);
  const auto add_bias = [&](const Node& of) {
    if (!of.has_input(2)) return;
    const std::shared_ptr<const float> bias = context.graph.values[of.inputs[2]].dense();
    for (std::size_t i = 0; i < layer->bias.size(); ++i) layer->bias[i] += bias.get()[i];
  };
  add_bias(node);
  if (context.addend) add_bias(*context.addend);
  q.bias = layer->bias.data();
  layer->panel_fn = v.fn;
  layer->panel_tasks = v.tasks;
  layer->inner = inner;
  layer->vector_fn = c.vector.fn;
  layer->vector_limit = c.vector_limit;
  const bool by_vector = c.by_vector(rows());
  // Rows are split, one chunk a thread, where tiles do not come out even; those that two threads share are packed by
  // both. The vector kernels pack nothing, so their chunks are small enough to even out a slow core.
  int chunks = 1;
  if (context.threads > 1) {
    q.chunks = 1;
    const std::int64_t tiles = v.tasks(&q, rows());
    chunks = by_vector ? 4 * context.threads : tiles % context.threads != 0 ? context.threads : 1;
  }
  std::vector<std::int64_t> entries(static_cast<std::size_t>((q.M + v.br - 1) / v.br), q.K);
  if (v.sparse && chunks > 1) entries = Occupied(w, q.groups, q.M, q.K).count_rows(v.br, v.bc);
  layer->chunk = split_rows(entries, chunks);
  if (q.linear && !v.sparse) align_chunks(layer->chunk, kGemvStreams);
  const std::int32_t slice = slice_rows(v.bc, v.lanes);
  if (c.vector.sell) align_chunks(layer->chunk, slice);
  if (v.paired) align_chunks(layer->chunk, kPairBand / 2);
  std::vector<std::uint16_t> places;
  if ((v.sparse && !q.linear) || in_place(q)) places = panel_places(q, v.tile(), v.lanes, c.kc);
  layer->weights = v.paired   ? pack_pairs(w, q.groups, q.M, q.K, c.kc, layer->chunk, places)
                   : v.sparse ? pack_sparse(w, q.groups, q.M, q.K, v.br, v.bc, c.kc, layer->chunk, !q.linear, places)
                              : pack_dense(w, q.groups, q.M, q.K, v.br, c.kc, places);
  if (c.vector.sell) layer->weights = interleave_rows(*layer->weights, slice);
  if (c.vector.f16) store_as_half(*layer->weights);
  q.w = layer->weights->view;
  if (q.linear) q.far = layer->weights->bytes() > l2_bytes();
  q.chunks = static_cast<std::int32_t>(layer->chunk.size()) - 1;
  q.chunk = layer->chunk.data();

  Step step;
  step.fn = q.linear ? linear_run : conv_run;
  step.tasks = q.linear ? linear_tasks : conv_tasks;
  step.unit = by_vector ? 1 : q.chunks;
  step.scratch_bytes = panel_scratch_bytes(q, v);
  step.info.kernel = by_vector ? c.vector.name : v.name;
  if (!q.linear) step.info.layout = layout_name(q.layout);
  step.info.packed_bytes = layer->weights->bytes() + layer->bias.size() * sizeof(float);
  step.params = std::move(layer);
  return step;
}

}  // namespace sn
