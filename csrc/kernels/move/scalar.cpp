#define SN_ISA scalar
#include "simd/scalar.h"

#include "kernels/move/generic.h"
