#define SN_ISA scalar
#include "simd/scalar.h"

#include "kernels/convtranspose/generic.h"
