#define SN_ISA scalar
#define SN_ROWS_SCALAR
#include "simd/scalar.h"

#include "kernels/spmm/instances.h"
