#define SN_ISA scalar
#include "simd/scalar.h"

#include "kernels/resize/generic.h"
