/* XNNPACK's published design of a sparse 1x1 kernel (Elsen et al. 2020, "Fast Sparse ConvNets"), written anew, to count
 * what it executes beside our kernels: 32 pixels of accumulators for one or two output channels, pixels read where they
 * lie, each nonzero with the distance to the next one's input channel.
 *
 *   aarch64-linux-gnu-gcc -O2 -c benchmarks/arm/design.c -o design.o && aarch64-linux-gnu-objdump -d design.o */
#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>

#define UNROLL(n) _Pragma("GCC unroll 8") for (int v = 0; v < (n); ++v)

/* One row of `count` > 0 nonzeros. */
void one_channel(const float* x, const float* w, const int32_t* step, size_t count, float* y) {
  float32x4_t sum[8], pixels[8];
  UNROLL(8) sum[v] = vdupq_n_f32(0);
  do {
    const ptrdiff_t next = *step++;
    UNROLL(8) pixels[v] = vld1q_f32(x + 4 * v);
    x = (const float*)((const char*)x + next);
    __builtin_prefetch(x + 16);
    __builtin_prefetch(x + 32);
    const float32x4_t weight = vld1q_dup_f32(w++);
    __builtin_prefetch(w + 32);
    UNROLL(8) sum[v] = vfmaq_f32(sum[v], pixels[v], weight);
  } while (--count);
  UNROLL(8) vst1q_f32(y + 4 * v, sum[v]);
}

/* Two rows that have their nonzeros in the same places, count times two weights; 32 results of one, then the other's.
 */
void two_channels(const float* x, const float* w, const int32_t* step, size_t count, float* y) {
  float32x4_t sum[8], other[8], pixels[8];
  UNROLL(8) sum[v] = other[v] = vdupq_n_f32(0);
  do {
    const ptrdiff_t next = *step++;
    UNROLL(8) pixels[v] = vld1q_f32(x + 4 * v);
    x = (const float*)((const char*)x + next);
    __builtin_prefetch(x + 16);
    __builtin_prefetch(x + 32);
    const float32x2_t weights = vld1_f32(w);
    w += 2;
    __builtin_prefetch(w + 32);
    UNROLL(8) sum[v] = vfmaq_lane_f32(sum[v], pixels[v], weights, 0);
    UNROLL(8) other[v] = vfmaq_lane_f32(other[v], pixels[v], weights, 1);
  } while (--count);
  UNROLL(8) vst1q_f32(y + 4 * v, sum[v]);
  UNROLL(8) vst1q_f32(y + 32 + 4 * v, other[v]);
}
