// The packed streams as arrays, so that kernels written in Python read what ours read.
#include "kernels/panel/pack.h"

#include <pybind11/numpy.h>

#include <limits>
#include <numeric>
#include <vector>

#include "base/error.h"
#include "bind/bind.h"

namespace py = pybind11;

namespace sn {
namespace {

using Weights = py::array_t<float, py::array::c_style | py::array::forcecast>;

template <class T>
py::array_t<T> view(const std::shared_ptr<PackedMatrix>& owner, const T* data, std::int64_t count) {
  const py::capsule keep(new std::shared_ptr<PackedMatrix>(owner),
                         [](void* p) { delete static_cast<std::shared_ptr<PackedMatrix>*>(p); });
  return py::array_t<T>(count, data, keep);
}

py::tuple pack(const Weights& w, int br, int bc, int kc) {
  if (w.ndim() != 3) fail(ErrorCode::Shape, "pack: expected weights [groups, M, K], got ", w.ndim(), " axes");
  if (w.size() == 0 || w.size() > std::numeric_limits<std::int32_t>::max())
    fail(ErrorCode::Shape, "pack: expected 1 to 2^31-1 weights, got ", w.size());
  if (br < 1 || br > 64 || bc < 1 || bc > 64)
    fail(ErrorCode::InvalidArgument, "pack: expected a block of 1x1 to 64x64, got ", br, "x", bc);
  if (kc < bc || kc > 65536 || kc % bc != 0)
    fail(ErrorCode::InvalidArgument, "pack: expected kc to be a multiple of bc = ", bc, " up to 65536, got ", kc);
  // A chunk a row block: the segments stay in order of their rows.
  std::vector<std::int32_t> chunk(static_cast<std::size_t>((w.shape(1) + br - 1) / br + 1));
  std::iota(chunk.begin(), chunk.end(), 0);
  const auto packed = pack_sparse(w.data(), static_cast<int>(w.shape(0)), static_cast<int>(w.shape(1)),
                                  static_cast<int>(w.shape(2)), br, bc, kc, chunk, true);
  const PackedWeights& v = packed->view;
  const std::int64_t segments = w.shape(0) * v.row_blocks * v.k_blocks;
  return py::make_tuple(view(packed, packed->start.as<std::uint32_t>(), segments + 1),
                        view(packed, packed->index.as<std::uint16_t>(), packed->entries),
                        view(packed, packed->value.as<float>(), packed->entries * br * bc));
}

}  // namespace

void bind_pack(py::module_& m) {
  m.def(
      "pack", &pack, py::arg("w"), py::arg("br") = 1, py::arg("bc") = 1, py::arg("kc") = 128,
      "Dense weights [groups, M, K] with zeros in them -> (start, index, value), the stream that the sparse kernels\n"
      "walk. Segment s = (g * k_blocks + kb) * row_blocks + rb holds the entries e in [start[s], start[s+1]); entry e\n"
      "is a block: value[(e * bc + j) * br + i] = w[g, rb * br + i, kb * kc + index[e] + j].");
}

}  // namespace sn
