#define SN_ISA scalar
#include "simd/scalar.h"

#include "kernels/winograd/generic.h"
