#define SN_ISA scalar
#include "simd/scalar.h"

#include "kernels/peak/generic.h"
