#define SN_ISA avx512
#define SN_ROWS_AVX512
#include "simd/avx512.h"

#include "kernels/spmm/instances.h"
