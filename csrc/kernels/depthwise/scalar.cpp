#define SN_ISA scalar
#include "simd/scalar.h"

#include "kernels/depthwise/generic.h"
