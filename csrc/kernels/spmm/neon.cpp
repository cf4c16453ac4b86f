#define SN_ISA neon
#define SN_ROWS_NEON
#include "simd/neon.h"

#include "kernels/spmm/instances.h"
