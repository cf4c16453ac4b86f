/* Cycles a second of this core now, in GHz: a chain of dependent additions, one cycle each on every core of today. */
#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <time.h>

int main(void) {
  double best = 0;
  for (int round = 0; round < 20; ++round) {
    struct timespec a, b;
    const long count = 2000000;
    unsigned long x = 1;
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (long i = 0; i < count / 10; ++i) {
      /* opaque to the compiler, which would add up the constants */
#define ADD                       \
  __asm__ volatile("" : "+r"(x)); \
  x += (unsigned long)count;
      ADD ADD ADD ADD ADD ADD ADD ADD ADD ADD
    }
    clock_gettime(CLOCK_MONOTONIC, &b);
    const double seconds = (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec);
    if ((double)count / seconds > best) best = (double)count / seconds;
  }
  printf("%.4f\n", best * 1e-9);
  return 0;
}
