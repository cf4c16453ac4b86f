#define SN_ISA avx512
#include "simd/avx512.h"

#include "kernels/winograd/generic.h"
