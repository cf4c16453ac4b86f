// Loaded into a process before anything else: CPUID then denies AVX-512 and AMX, whoever asks (without_avx512.py).
//
// CPUs with "CPUID faulting" (Intel since Ivy Bridge; Linux shows cpuid_fault in /proc/cpuinfo) raise SIGSEGV on CPUID
// once a thread asks for it (arch_prctl(2), ARCH_CPUID). New threads inherit that, new programs do not: the dynamic
// linker runs this constructor in each.
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define ARCH_SET_CPUID 0x1012  // asm/prctl.h; musl has no such header

static int fault(int on) {
  return (int)syscall(SYS_arch_prctl, ARCH_SET_CPUID, !on);
}

static unsigned without(unsigned flags, const int* bits, int count) {
  for (int i = 0; i < count; ++i) flags &= ~(1u << bits[i]);
  return flags;
}

// Intel's manual, volume 2, CPUID, leaf 7.
static const int kEbx[] = {16, 17, 21, 26, 27, 28, 30, 31};  // AVX512 F, DQ, IFMA, PF, ER, CD, BW, VL
static const int kEcx[] = {1, 6, 11, 12, 14};                // AVX512 VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ
static const int kEdx[] = {2, 3, 8, 22, 23, 24, 25};         // AVX512 4VNNIW, 4FMAPS, VP2INTERSECT; AMX; AVX512 FP16
static const int kEax1[] = {5, 21};                          // of subleaf 1: AVX512 BF16, AMX FP16

static void on_fault(int number, siginfo_t* info, void* context) {
  (void)number, (void)info;
  greg_t* r = ((ucontext_t*)context)->uc_mcontext.gregs;
  const unsigned char* at = (const unsigned char*)r[REG_RIP];
  if (at[0] != 0x0f || at[1] != 0xa2) {  // a fault of the program's own: again, and this time for good
    signal(SIGSEGV, SIG_DFL);
    return;
  }
  const unsigned leaf = (unsigned)r[REG_RAX], subleaf = (unsigned)r[REG_RCX];
  unsigned a = leaf, b, c = subleaf, d;
  fault(0);
  __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  fault(1);
#define WITHOUT(flags, bits) without(flags, bits, sizeof(bits) / sizeof *(bits))
  if (leaf == 7 && subleaf == 0) b = WITHOUT(b, kEbx), c = WITHOUT(c, kEcx), d = WITHOUT(d, kEdx);
  if (leaf == 7 && subleaf == 1) a = WITHOUT(a, kEax1);
  r[REG_RAX] = a, r[REG_RBX] = b, r[REG_RCX] = c, r[REG_RDX] = d;
  r[REG_RIP] += 2;
}

__attribute__((constructor)) static void begin(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  if (sigaction(SIGSEGV, &action, NULL) != 0 || fault(1) != 0) {
    fprintf(stderr, "without_avx512: this CPU or kernel has no CPUID faulting: %s\n", strerror(errno));
    _Exit(1);  // rather than measure something else than was asked for
  }
}
