#define SN_ISA avx2
#define SN_ROWS_AVX2
#include "simd/avx2.h"

#include "kernels/spmm/instances.h"
