// Packing of a layer with a window or a stride into panels, by way of a strip.
//
// Tiles count pixels in rows of `pitch` (panel.h). A strip holds the zero-padded input that some tiles in a row see,
// all channels of it: of each channel, image column c*SW + b - PL of image row r*SH + a - PT stands in plane (a, b) at
// r*strip_pitch + c, less the strip's first position. There the input of tap (kh, kw) lies at one offset for all
// pixels of an image row, whatever the stride, padding or dilation; and where the tiles count their pixels by that
// pitch too (`straight`), for all pixels of the tile: a panel row is R plain vector copies. The few positions between
// two image rows are computed and not stored. Where they would be too many (choose.cpp), tiles count real pixels only
// and a panel row is copied in pieces. Where a row of pixels is made whole vectors, panels may slide (panel.h). Or
// there is no panel, and the kernels read the strip: as it is, or with a plane for each column b*DW of the window.
#pragma once

#include "kernels/panel/copy.h"
#include "kernels/panel/panel.h"

namespace sn {
namespace SN_ISA {

constexpr int kPlanesAhead = 2;  // that strips fetch

struct Strip {
  Run* loads;     // image plane -> a channel's planes: runs of an image row, every SW-th element
  Run* pieces;    // of a compact tile, its first tap -> panel row: a vector each, the last of a row overhanging
  Run* stores;    // panel row -> output plane: of each vector, the parts that lie in one output row
  int32_t* taps;  // where tap (kh, kw) lies, from the tap (0, 0)
  float* data;
  int load_count, piece_count, store_count;
  int32_t plane, channel;  // floats: of a plane, of all of a channel's
  int32_t first, offset;   // the strip's first position; the tile's, from there
  int32_t pitch;
  bool straight;

  // The lists begin at `at`, run_floats() long.
  SN_INLINE void place(const MatrixProblem& q, int tile, float* at) {
    loads = reinterpret_cast<Run*>(at);
    pieces = loads + (q.flat || q.linear ? 0 : strip_loads(q, tile));
    stores = pieces + tile;
    taps = reinterpret_cast<int32_t*>(stores + tile);
  }

  void plan(const MatrixProblem& q, int64_t p0, int64_t n, int tile);
  void plan_tile(const MatrixProblem& q, int64_t p0, int n);

  // One channel, its gaps zeroed. What the channel `ahead` floats on has there is fetched, unless that is 0.
  SN_INLINE void load(const float* image, int stride, float* to, int64_t ahead) const {
    int32_t at = 0;
    for (int i = 0; i < load_count; ++i) {
      const Run run = loads[i];
      if (ahead) prefetch_row<0>(image + ahead + run.from, run.n * stride);
      zero_row(to + at, run.to - at);
      copy_strided(to + run.to, image + run.from, run.n, stride);
      at = run.to + run.n;
    }
    zero_row(to + at, channel - at);
  }
};

// The strip of pixels [p0, p0 + n), in whole tiles.
inline __attribute__((noinline)) void Strip::plan(const MatrixProblem& q, int64_t p0, int64_t n, int tile) {
  pitch = static_cast<int32_t>(strip_pitch(q));
  straight = q.pitch == pitch;
  const int64_t last = p0 + n - 1;
  const int64_t begin = p0 / q.pitch * pitch + p0 % q.pitch, end = last / q.pitch * pitch + last % q.pitch + 1;
  // Straight and sliding tiles are packed to their full width, the last one too.
  const int64_t whole = (n + tile - 1) / tile * tile;
  const int64_t span = straight ? whole : q.layout == Layout::sliding ? whole / q.pitch * pitch : end - begin;
  first = static_cast<int32_t>(begin);
  // Places in a strip are fixed when weights are packed, so a last, shorter one is as long as the others.
  plane = static_cast<int32_t>(in_place(q) ? strip_plane(q, int64_t{q.strip} * tile) : span + strip_reach(q));
  const int phases_h = phases(q.SH, q.KH, q.DH), across = planes_across(q);
  channel = phases_h * across * plane;

  Run* run = loads;
  for (int a = 0; a < phases_h; ++a) {
    for (int b = 0; b < across; ++b) {
      const int32_t column = q.layout == Layout::shifted ? b * q.DW : b;
      const int32_t left = column >= q.PL ? 0 : (q.PL - column + q.SW - 1) / q.SW;
      const int32_t all = column < q.W + q.PL ? (q.W + q.PL - column + q.SW - 1) / q.SW : 0;
      const int32_t right = all < pitch ? all : pitch;
      for (int32_t r = first / pitch; r * pitch < first + plane; ++r) {
        const int64_t seen = static_cast<int64_t>(r) * q.SH + a - q.PT;  // r may be past the image, a stride any
        if (seen < 0 || seen >= q.H) continue;
        const int32_t row = static_cast<int32_t>(seen);
        const int32_t from = r * pitch + left > first ? r * pitch + left : first;
        const int32_t to = r * pitch + right < first + plane ? r * pitch + right : first + plane;
        if (from >= to) continue;
        *run++ = {row * q.W + (from - r * pitch) * q.SW + column - q.PL, (a * across + b) * plane + from - first,
                  to - from};
      }
    }
  }
  load_count = static_cast<int>(run - loads);

  for (int kh = 0; kh < q.KH; ++kh) {
    for (int kw = 0; kw < q.KW; ++kw) taps[kh * q.KW + kw] = static_cast<int32_t>(strip_tap(q, plane, kh, kw));
  }
}

inline __attribute__((noinline)) void Strip::plan_tile(const MatrixProblem& q, int64_t p0, int n) {
  int32_t row = static_cast<int32_t>(p0 / q.pitch), column = static_cast<int32_t>(p0 % q.pitch);
  const int32_t begin = row * pitch + column;
  offset = begin - first;
  piece_count = store_count = 0;
  if (whole_vectors(q)) {
    for (int at = 0; at < n; at += VL, column += VL) {
      if (column == q.pitch) ++row, column = 0;
      const int32_t real = q.OW - column < VL ? q.OW - column : VL;
      stores[store_count++] = {at, row * q.OW + column, real};
    }
    return;
  }
  for (int at = 0; at < n; ++row, column = 0) {
    const int32_t len = q.pitch - column < n - at ? q.pitch - column : n - at;
    if (straight) {
      const int32_t real = q.OW - column < len ? q.OW - column : len;
      for (int32_t i = 0, next; i < real; i = next) {
        next = (at + i) / VL * VL + VL - at < real ? (at + i) / VL * VL + VL - at : real;
        stores[store_count++] = {at + i, row * q.OW + column + i, next - i};
      }
    } else {
      const int32_t from = row * pitch + column - begin;
      for (int32_t i = 0; i < len; i += VL) pieces[piece_count++] = {from + i, at + i, VL};
    }
    at += len;
  }
}

// panel[k - k0][T] = col(n, g, k, p0 ...) for k in [k0, k1). Floats past the tile's last pixel hold other pixels or
// zeros; no result is stored from them.
template <int R>
__attribute__((noinline)) void pack_window(const MatrixProblem& q, const Strip& strip, int k0, int k1, float* panel) {
  const int window = q.KH * q.KW;
  int tap = k0 % window;
  const float* channel = strip.data + static_cast<int64_t>(k0 / window) * strip.channel + strip.offset;
  for (int k = k0; k < k1; ++k, panel += R * VL) {
    const float* from = channel + strip.taps[tap];
    if (strip.straight) {
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) storea(panel + r * VL, load(from + r * VL));
    } else {
      for (int i = 0; i < strip.piece_count; ++i) store(panel + strip.pieces[i].to, load(from + strip.pieces[i].from));
    }
    if (++tap == window) tap = 0, channel += strip.channel;
  }
}

// The same for a sliding panel: of each channel, by phase and column of the window, the rows that its taps see.
template <int R>
__attribute__((noinline)) void pack_sliding(const MatrixProblem& q, const Strip& strip, int k0, int k1, float* panel) {
  const int window = q.KH * q.KW, phases_w = phases(q.SW, q.KW, q.DW), vectors = q.pitch / VL;
  const float* channel = strip.data + static_cast<int64_t>(k0 / window) * strip.channel + strip.offset;
  for (int k = k0; k < k1; k += window, channel += strip.channel) {
    for (int a = 0; a < q.SH; ++a) {
      const int64_t more = slide_rows(q, a);
      for (int kw = 0; kw < q.KW && more >= 0; ++kw) {
        const int w = kw * q.DW;
        const float* from = channel + (a * phases_w + w % q.SW) * strip.plane + w / q.SW;
        if (strip.pitch == q.pitch) {
          const float* const end = from + R * VL + more * q.pitch;
          for (; from < end; from += VL, panel += VL) storea(panel, load(from));
          continue;
        }
        for (int64_t row = R / vectors + more; row > 0; --row, from += strip.pitch) {
          for (int v = 0; v < vectors; ++v, panel += VL) storea(panel, load(from + v * VL));
        }
      }
    }
  }
}

// The same for a strided 1x1 layer: each channel's strip is its panel row. x is the image's group.
inline __attribute__((noinline)) void pack_points(const MatrixProblem& q, const Strip& strip, const float* x, int tile,
                                                  int k0, int k1, float* panel) {
  const int64_t plane = static_cast<int64_t>(q.H) * q.W;
  const int64_t ahead = q.distant ? kPlanesAhead * plane : 0;
  for (int k = k0; k < k1; ++k, panel += tile) strip.load(x + k * plane, q.SW, panel, ahead);
}

}  // namespace SN_ISA
}  // namespace sn
