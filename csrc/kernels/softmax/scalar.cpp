#define SN_ISA scalar
#include "simd/scalar.h"

#include "kernels/softmax/generic.h"
