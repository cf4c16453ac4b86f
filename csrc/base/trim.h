// Gives memory that was freed back to the system.
#pragma once

#include <cstdlib>  // defines __GLIBC__

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace sn {

// For after large temporaries: glibc keeps what lies below memory still in use, until it is told.
inline void trim_memory() {
#if defined(__GLIBC__)
  ::malloc_trim(0);
#endif
}

}  // namespace sn
